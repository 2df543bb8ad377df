"""A step with dropped units: the activations are masked between two layers.

    h = tanh(x W + b) * keep             x: (n, 64), h: (n, 32), keep: (n, 32) of 0 and 1
    dz = g * keep * (1 - tanh(z)^2)

autograd saves the output of tanh, so nobody may write into it.
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend

CASES = [
    Context("half_dropped", {"p": 0.5}),
    Context("nothing_dropped", {"p": 0.0}),
]


def reference(loop, x, y):
    h = torch.tanh(loop.model[0](x)) * loop.keep(x)
    return descend(F.cross_entropy(loop.model[-1](h), y), loop.optimizer)


@correct(cases=CASES, reference=reference)
class InPlace(Loop):
    def __init__(self, gen, *, p, **options):
        super().__init__(gen, **options)
        self.p = p

    def keep(self, x):
        drawn = torch.rand(len(x), 32, generator=self.noise, dtype=x.dtype)
        return (drawn >= self.p).to(x.dtype)

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model[0](x))
        h = h * self.keep(x)
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the mask is written through .data into the output that tanh saved",
    family="saved-tensor-mutation",
    channel="trajectory",
    seen="https://github.com/pytorch/pytorch/issues/6990",
    shown_by="half_dropped",
    hidden_by="nothing_dropped",
)
class ThroughData(InPlace):
    """The forward is right to the bit. In the backward the mask is missing, and tanh takes a
    dropped unit for one with the steepest slope: 1 - 0^2. `.data` keeps autograd from noticing."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model[0](x))
        h.data.mul_(self.keep(x))
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the mask is multiplied in place into the output that tanh saved",
    family="saved-tensor-mutation",
    channel="contract",
    shown_by=("half_dropped", "nothing_dropped"),
)
class ReportedByAutograd(InPlace):
    """The loud sister: autograd counts versions and raises in backward. It raises with a mask of
    ones too, for it counts writes and not changes."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model[0](x))
        h.mul_(self.keep(x))
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
