"""Mixed precision by hand: forward and backward in half, the weights and the update in float64.

    g = grad_half(scale * L) / scale          scale is halved until no element overflows

Half holds nothing below 6e-8 and nothing above 65504. A batch whose gradient overflows is tried
again with half the scale, so that no step is lost. `weight` is a factor on the loss, as that of one
task among several. Micikevicius et al., 2018.
"""

import copy

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend

HALF = 5e-3  # half has 11 bits, and 24 steps of its rounding add up to a thousandth
ADAM = {"optimizer": "adam", "lr": 1e-2, "rule": {"eps": 1e-9}}
CASES = [
    Context("plain", {"scale": 256.0}, rtol=HALF),
    Context("small_weight", ADAM | {"scale": 65536.0, "weight": 1e-6}, rtol=HALF),
    Context("large_scale", {"scale": 2.0**24}, rtol=HALF),
]


def reference(loop, x, y):
    return descend(F.cross_entropy(loop.model(x), y) * loop.weight, loop.optimizer)


@correct(cases=CASES, reference=reference)
class HalfPrecision(Loop):
    def __init__(self, gen, *, weight=1.0, **options):
        super().__init__(gen, **options)
        self.weight = weight
        self.half = copy.deepcopy(self.model).half()

    def step(self, x, y):
        self.half.load_state_dict(self.model.state_dict())
        held = list(self.half.parameters())
        while True:
            loss = F.cross_entropy(self.half(x.half()).float(), y) * self.weight
            grads = torch.autograd.grad(loss * self.scale, held)
            if all(g.isfinite().all() for g in grads):
                break
            self.scale /= 2
        for p, g in zip(self.model.parameters(), grads):
            p.grad = g.to(p.dtype) / self.scale
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the loss is not scaled, so gradients below 6e-8 become zero in half",
    family="dtype-precision",
    channel="trajectory",
    shown_by="small_weight",
    hidden_by=("plain", "large_scale"),
)
class NotScaled(HalfPrecision):
    """In the small test all gradients are large enough. In the long run of a small task the
    parameters that matter least stop first."""

    def step(self, x, y):
        self.half.load_state_dict(self.model.state_dict())
        held = list(self.half.parameters())
        loss = F.cross_entropy(self.half(x.half()).float(), y) * self.weight
        grads = torch.autograd.grad(loss, held)
        for p, g in zip(self.model.parameters(), grads):
            p.grad = g.to(p.dtype)
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="a batch that overflows is skipped and the scale stays, so every batch overflows",
    family="scaling",
    channel="trajectory",
    shown_by="large_scale",
    hidden_by=("plain", "small_weight"),
)
class ScaleNeverLowered(HalfPrecision):
    """Skipping a step now and then is normal and says nothing in the log. Here it is every step,
    and the loss is that of an untrained net, with no NaN anywhere."""

    def step(self, x, y):
        self.half.load_state_dict(self.model.state_dict())
        held = list(self.half.parameters())
        loss = F.cross_entropy(self.half(x.half()).float(), y) * self.weight
        grads = torch.autograd.grad(loss * self.scale, held)
        if all(g.isfinite().all() for g in grads):
            for p, g in zip(self.model.parameters(), grads):
                p.grad = g.to(p.dtype) / self.scale
            self.optimizer.step()
        return loss.item()


@bug(
    wrong="nobody looks whether the gradient overflowed: infinities are stepped along",
    family="dtype-precision",
    channel="trajectory",
    shown_by="large_scale",
    hidden_by=("plain", "small_weight"),
)
class StepsOnOverflow(HalfPrecision):
    """One bad batch, and every weight that it touched is NaN for the rest of the run."""

    def step(self, x, y):
        self.half.load_state_dict(self.model.state_dict())
        held = list(self.half.parameters())
        loss = F.cross_entropy(self.half(x.half()).float(), y) * self.weight
        grads = torch.autograd.grad(loss * self.scale, held)
        for p, g in zip(self.model.parameters(), grads):
            p.grad = g.to(p.dtype) / self.scale
        self.optimizer.step()
        return loss.item()
