"""A penalty on the gradient of the loss with respect to the input.

    L = l + weight * sum |dl/dx|^2       l: mean cross-entropy, x: (n, 64)

The step needs the derivative of a derivative, so dl/dx must come with a graph, and every operation
on the way must be differentiable twice. Drucker & LeCun, 1992.
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend

CASES = [
    Context("penalty", {"weight": 5.0}),
    Context("adam", {"weight": 5.0, "optimizer": "adam", "lr": 1e-2}),
    Context("no_penalty", {"weight": 0.0}),
]


def reference(loop, x, y):
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(loop.model[-1](F.silu(loop.model[0](x))), y)
    (dx,) = torch.autograd.grad(loss, x, create_graph=True)
    return descend(loss + loop.weight * dx.square().sum(), loop.optimizer)


@correct(cases=CASES, reference=reference)
class GradientPenalty(Loop):
    class Silu(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return g * s * (1 + x * (1 - s))

    def __init__(self, gen, *, weight, **options):
        super().__init__(gen, **options)
        self.weight = weight

    def step(self, x, y):
        self.optimizer.zero_grad()
        x = x.clone().requires_grad_()
        loss = F.cross_entropy(self.model[-1](self.Silu.apply(self.model[0](x))), y)
        (dx,) = torch.autograd.grad(loss, x, create_graph=True)
        loss = loss + self.weight * dx.square().sum()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="retain_graph where create_graph belongs: the penalty is a number without a gradient",
    family="higher-order",
    channel="trajectory",
    shown_by=("penalty", "adam"),
    hidden_by="no_penalty",
)
class PenaltyWithoutGraph(GradientPenalty):
    """The penalty is computed, added and logged, and wanders wherever the unpenalised run takes it."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        x = x.clone().requires_grad_()
        loss = F.cross_entropy(self.model[-1](self.Silu.apply(self.model[0](x))), y)
        (dx,) = torch.autograd.grad(loss, x, retain_graph=True)
        loss = loss + self.weight * dx.square().sum()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the activation saves its sigmoid, a constant to the second derivative",
    family="higher-order",
    channel="trajectory",
    seen=(
        "https://github.com/pytorch/pytorch/issues/58509",
        "https://github.com/pytorch/pytorch/issues/76185",
    ),
    shown_by=("penalty", "adam"),
    hidden_by="no_penalty",
)
class SigmoidSaved(GradientPenalty):
    """One evaluation of the sigmoid is saved and gradcheck passes. What depended on x through the
    saved intermediate is missing from the second derivative, and torch does not say so."""

    class Silu(Function):
        @staticmethod
        def forward(ctx, x):
            s = torch.sigmoid(x)
            ctx.save_for_backward(x, s)
            return x * s

        @staticmethod
        def backward(ctx, g):
            x, s = ctx.saved_tensors
            return g * s * (1 + x * (1 - s))
