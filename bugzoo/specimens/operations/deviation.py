"""Standard deviation of each row, with 1/f.

y  = sqrt(mean((x - mean(x)) ** 2))              x, dx: (..., f)   y, g: (...)
dx = g (x - mean(x)) / (f y)                     0 in a constant row, as in torch
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal
from bugzoo.seats import images


def reference(x):
    return x.std(-1, correction=0)


def constant_row(x):
    x[0].fill_(0.25)


def centred(x):
    x.sub_(x.mean(-1, keepdim=True))


ROWS = normal("rows", (3, 5))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 4)),
    changed(ROWS, "constant_row", constant_row),
    changed(ROWS, "centred", centred),
]


@correct(cases=CASES, reference=reference, seat=images(8))
class Deviation(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.var(-1, correction=0).sqrt()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        gap = x - x.mean(-1, keepdim=True)
        slope = gap / (x.shape[-1] * y[..., None])
        return g[..., None] * torch.where(y[..., None] > 0, slope, 0.0)


@bug(
    wrong="a constant row has no deviation to divide by: 0 / 0 is NaN",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/google-research/vmoe/pull/218",
    shown_by="constant_row",
    hidden_by=("rows", "three_axes", "centred", "trained"),
)
class NanAtConstantRow(Deviation):
    """A balance loss divides by the deviation of the load of the experts. A router that begins
    with zero weights is perfectly balanced."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        gap = x - x.mean(-1, keepdim=True)
        slope = gap / (x.shape[-1] * y[..., None])
        return g[..., None] * slope


@bug(
    wrong="the mean is not taken off, as if every row were centred",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "three_axes"),
    hidden_by="centred",
)
class NotCentred(Deviation):
    """Taken over from the norm. Behind a normalisation every row is centred, and it is right."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        slope = x / (x.shape[-1] * y[..., None])
        return g[..., None] * torch.where(y[..., None] > 0, slope, 0.0)
