"""Rectified linear unit.

    y  = max(x, 0)                                   x, y, g, dx: any one shape
    dx = g where x > 0, else 0

At x = 0 the subgradient is 0, as in torch.
"""

from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden

PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    normal("all_positive", (3, 4), scale=0.1, shift=2.0),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=F.relu, seat=hidden(residual=True))
class Relu(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x > 0)


@bug(
    wrong="the mask is written into the cotangent, which belongs to the consumer of y",
    family="saved-tensor-mutation",
    channel="side_effect",
    seen="https://github.com/pytorch/pytorch/issues/81417",
    shown_by=("plain", "transposed"),
    hidden_by="all_positive",
)
class WritesIntoCotangent(Relu):
    """gradcheck passes. In `x + relu(x)` both branches get the same cotangent, and the
    skip branch then carries 0 where 1 is right."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g.mul_(x > 0)
