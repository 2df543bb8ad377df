"""Largest element of each row.

    y  = max(x)                                      x, dx: (..., f)   y, g: (...)
    dx = g at the place of the largest element, else 0

Of equal elements the one that torch's `max` picks gets all; `amax` would share it evenly.
"""

from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import images


def reference(x):
    return x.max(-1).values


def tied(x):
    x.clamp_(min=0.0)
    x[0].fill_(-1.0)


ROWS = normal("rows", (4, 5))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 4)),
    changed(ROWS, "ties", tied),
    consumed(ROWS, "ones", "summed_loss"),
]


@correct(cases=CASES, reference=reference, seat=images(8))
class RowMax(Function):
    @staticmethod
    def forward(ctx, x):
        y, index = x.max(-1)
        ctx.save_for_backward(x, index)
        return y

    @staticmethod
    def backward(ctx, g):
        x, index = ctx.saved_tensors
        largest = F.one_hot(index, x.shape[-1])
        return g[..., None] * largest


@bug(
    wrong="every one of several equal elements gets the whole cotangent",
    family="masking-boundary",
    channel="value",
    shown_by="ties",
    hidden_by=("rows", "three_axes", "summed_loss", "trained"),
)
class EveryTieGetsAll(RowMax):
    """Neither of the two conventions: a row of f equal numbers gets f times its gradient. Random
    numbers have no ties; the output of a rectifier has little else."""

    @staticmethod
    def backward(ctx, g):
        x, index = ctx.saved_tensors
        largest = x == x.gather(-1, index[..., None])
        return g[..., None] * largest
