"""Two layers that share one weight; each delivers its own gradient, and the loop adds them.

dW = dW_1 + dW_2                     W: (32, 32), used by both middle layers
g <- g * min(1, clip / |g|)          |g|: each parameter counted once
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import dense, descend

CASES = [
    Context("tied", {"tied": True}),
    Context("tied_clip", {"tied": True, "clip": 0.05}),
    Context("untied_clip", {"tied": False, "clip": 0.05}),
]


def reference(loop, x, y):
    first, *rest = loop.model
    x = first(x)
    for layer in rest:
        x = layer(torch.tanh(x))
    return descend(F.cross_entropy(x, y), loop.optimizer, loop.clip)


@correct(cases=CASES, reference=reference)
class Tied(Loop):
    def __init__(self, gen, *, tied, **options):
        self.share = tied
        super().__init__(gen, **options)

    def build(self, gen):
        widths = ((64, 32), (32, 32), (32, 32), (32, 10))
        model = nn.Sequential(*(dense(gen, *pair) for pair in widths))
        if self.share:
            model[2].weight = model[1].weight
        return model

    def backward(self, x, y):
        uses = [(layer.weight, layer.weight.detach().requires_grad_()) for layer in self.model]
        h = x
        for n, (layer, (_, w)) in enumerate(zip(self.model, uses)):
            h = F.linear(torch.tanh(h) if n else h, w, layer.bias)
        loss = F.cross_entropy(h, y)
        loss.backward()
        for p, w in uses:
            p.grad = w.grad if p.grad is None else p.grad + w.grad
        return loss.item()

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.backward(x, y)
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss


@bug(
    wrong="each layer assigns its weight gradient, so of a shared weight's two only the last stays",
    family="missing-reduction",
    channel="trajectory",
    seen=(
        "https://github.com/NVIDIA/TransformerEngine/issues/3437",
        "https://github.com/torch/DEPRECEATED-torch7-distro/issues/156",
    ),
    shown_by=("tied", "tied_clip"),
    hidden_by="untied_clip",
)
class GradientAssigned(Tied):
    """Right for every layer that shares nothing, and half right for one that does."""

    def backward(self, x, y):
        uses = [(layer.weight, layer.weight.detach().requires_grad_()) for layer in self.model]
        h = x
        for n, (layer, (_, w)) in enumerate(zip(self.model, uses)):
            h = F.linear(torch.tanh(h) if n else h, w, layer.bias)
        loss = F.cross_entropy(h, y)
        loss.backward()
        for p, w in uses:
            p.grad = w.grad
        return loss.item()


@bug(
    wrong="the clip goes layer by layer through the model and meets the shared weight twice",
    family="hooks-clip-optimizer",
    channel="trajectory",
    seen="https://github.com/NVIDIA/Megatron-LM/pull/7227",
    shown_by="tied_clip",
    hidden_by=("tied", "untied_clip"),
)
class CountedTwice(Tied):
    """The norm is too large, so everything is clipped too much, the shared weight even twice.
    `model.parameters()` leaves duplicates out, a list of layers does not."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.backward(x, y)
        clip_grad_norm_([p for layer in self.model for p in layer.parameters()], self.clip)
        self.optimizer.step()
        return loss
