"""Hyperbolic tangent.

y  = tanh(x)                                     x, y, g, dx: any one shape
dx = g (1 - y y)
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import hidden


def zero(x):
    x.zero_()


PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    changed(PLAIN, "at_zero", zero),
    normal("scalar", ()),
    consumed(PLAIN, "narrow"),
]


@correct(cases=CASES, reference=torch.tanh, seat=hidden())
class Tanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


@bug(
    wrong="the square is lost: 1 - y where 1 - y y belongs",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "scalar", "narrow"),
    hidden_by="at_zero",
)
class LostSquare(Tanh):
    """Right for a network whose weights all begin at 0. For negative y the slope exceeds 1."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y)


@bug(
    wrong="every backward returns one and the same buffer and overwrites what it gave before",
    family="saved-tensor-mutation",
    channel="reentrancy",
    seen="https://github.com/pytorch/pytorch/issues/96693",
    shown_by=("plain", "scalar", "narrow"),
    hidden_by="trained",
)
class OneBufferReturned(Tanh):
    """The first gradient of an accumulation is that buffer itself, so the second overwrites it
    and is then added to itself. In the real case the cause was inferred from the remedy, a clone."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.dx = torch.empty_like(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.mul(g, 1 - y * y, out=ctx.dx)
