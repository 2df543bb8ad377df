"""Sum of the diagonal.

    y  = x_11 + x_22 + ...                           x, dx: (n, m)   y, g: scalar
    dx = g on the diagonal, else 0

The diagonal has min(n, m) elements.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import normal

CASES = [
    normal("square", (4, 4)),
    normal("wide", (3, 6)),
    normal("tall", (7, 3)),
    normal("one_more_row", (4, 3)),
]


@correct(cases=CASES, reference=torch.trace)
class Trace(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.diagonal().sum()

    @staticmethod
    def backward(ctx, g):
        n, m = ctx.shape
        dx = torch.zeros(n * m, dtype=g.dtype)
        dx[: m * min(n, m) : m + 1] = g
        return dx.reshape(n, m)


@bug(
    wrong="every (m + 1)-th element is set to the end of the memory, past the end of the diagonal",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/171704",
    shown_by="tall",
    hidden_by=("square", "wide", "one_more_row"),
)
class PastTheDiagonal(Trace):
    """A square or a wide matrix ends where the diagonal ends, and one row more is no room yet for
    another step. From two rows more on, the diagonal begins again further down."""

    @staticmethod
    def backward(ctx, g):
        n, m = ctx.shape
        dx = torch.zeros(n * m, dtype=g.dtype)
        dx[:: m + 1] = g
        return dx.reshape(n, m)
