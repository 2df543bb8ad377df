"""Root-mean-square normalisation with a weight for each feature.

    z  = x / sqrt(mean(x x))                         x, y, z, g, dx: (n, f)
    y  = w z                                         w, dw: (f,)
    dx = (wg - z mean(wg z)) / sqrt(mean(x x))
    dw = sum(g z)                                    over the rows, a block at a time

Blocks of rows imitate a kernel whose programs each sum their own share. Zhang & Sennrich, 2019.
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import normal
from bugzoo.seats import hidden

BLOCK = 4


def reference(x, w):
    return F.rms_norm(x, x.shape[-1:], w, eps=0.0)


CASES = [
    normal("whole_blocks", (8, 5), (5,)),
    normal("tail_of_two", (10, 5), (5,)),
    normal("less_than_a_block", (3, 5), (5,)),
    normal("one_row", (1, 5), (5,)),
    normal("square", (8, 8), (8,)),
]


@correct(cases=CASES, reference=reference, seat=hidden((32,)))
class RmsNorm(Function):
    @staticmethod
    def forward(ctx, x, w):
        rms = x.square().mean(-1, keepdim=True).sqrt()
        ctx.save_for_backward(x, rms, w)
        return w * x / rms

    @staticmethod
    def backward(ctx, g):
        x, rms, w = ctx.saved_tensors
        z = x / rms
        dz = g * w
        row = (dz * z).mean(-1, keepdim=True)
        dx = (dz - z * row) / rms
        dw = torch.zeros_like(w)
        for start in range(0, len(x), BLOCK):
            block = slice(start, start + BLOCK)
            dw += (g[block] * z[block]).sum(-2)
        return dx, dw


@bug(
    wrong="the rows behind the last whole block are left out of dw",
    family="masking-boundary",
    channel="value",
    shown_by=("tail_of_two", "less_than_a_block", "one_row"),
    hidden_by=("whole_blocks", "square", "trained"),
)
class TailBlockSkipped(RmsNorm):
    """Batch sizes are powers of two, so nobody sees it before the last batch of the epoch."""

    @staticmethod
    def backward(ctx, g):
        x, rms, w = ctx.saved_tensors
        z = x / rms
        dz = g * w
        row = (dz * z).mean(-1, keepdim=True)
        dx = (dz - z * row) / rms
        dw = torch.zeros_like(w)
        for start in range(0, len(x) - len(x) % BLOCK, BLOCK):
            block = slice(start, start + BLOCK)
            dw += (g[block] * z[block]).sum(-2)
        return dx, dw


@bug(
    wrong="each row's mean loses its axis and is broadcast along the columns",
    family="wrong-math",
    channel="value",
    seen="https://github.com/BobMcDear/attorch/issues/17",
    shown_by="square",
    hidden_by="one_row",
)
class KeepdimForgotten(RmsNorm):
    """Row i subtracts the means of all rows, one a column. Raises unless the table is square."""

    @staticmethod
    def backward(ctx, g):
        x, rms, w = ctx.saved_tensors
        z = x / rms
        dz = g * w
        row = (dz * z).mean(-1)
        dx = (dz - z * row) / rms
        dw = torch.zeros_like(w)
        for start in range(0, len(x), BLOCK):
            block = slice(start, start + BLOCK)
            dw += (g[block] * z[block]).sum(-2)
        return dx, dw
