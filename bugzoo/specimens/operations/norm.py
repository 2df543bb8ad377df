"""Euclidean norm of each row.

y  = sqrt(sum(x x))                              x, dx: (..., f)   y, g: (...)
dx = g x / y                                     0 in a row of zeros, as in torch
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import images


def reference(x):
    return torch.linalg.vector_norm(x, dim=-1)


def zero_row(x):
    x[0].zero_()


ROWS = normal("rows", (3, 5))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 4)),
    changed(ROWS, "zero_row", zero_row),
    normal("unit_width", (4, 1)),
    consumed(ROWS, "expanded", "summed_loss"),
]


@correct(cases=CASES, reference=reference, seat=images(8))
class Norm(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.square().sum(-1).sqrt()
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        unit = torch.where(y[..., None] > 0, x / y[..., None], 0.0)
        return g[..., None] * unit


@bug(
    wrong="a row of zeros is divided by its norm: 0 / 0 is NaN",
    family="masking-boundary",
    channel="value",
    seen=(
        "https://github.com/pytorch/pytorch/issues/2721",
        "https://github.com/ml-explore/mlx/pull/3692",
    ),
    shown_by="zero_row",
    hidden_by=("rows", "three_axes", "unit_width", "summed_loss", "trained"),
)
class NanAtZeroRow(Norm):
    """One padded row, and the weights of the whole layer are NaN."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        unit = x / y[..., None]
        return g[..., None] * unit
