"""Largest element of each row, ties shared.

y  = max(x)                                      x, dx: (n, f)   y, g: (n,)
dx = g / m at each of the m largest elements, else 0
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import changed, normal


def reference(x):
    return x.amax(-1)


def tied(x):
    x.clamp_(min=0.0)
    x[0].fill_(-1.0)


ROWS = normal("rows", (4, 5))


@control(
    looks="a difference to one side says g or 0 at a tie, never g / m",
    right="the mean of the subgradients, the convention of torch's `amax`",
    cases=[ROWS, changed(ROWS, "ties", tied)],
    reference=reference,
)
class SharedTies(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.amax(-1, keepdim=True)
        ctx.save_for_backward(x == y)
        return y.squeeze(-1)

    @staticmethod
    def backward(ctx, g):
        (largest,) = ctx.saved_tensors
        share = g / torch.count_nonzero(largest, -1)
        return share[..., None] * largest
