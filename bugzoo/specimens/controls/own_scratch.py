"""Softmax that works in place, in memory of its own.

y  = exp(x) / sum(exp(x))                        x, y, g, dx: (..., f)
dx = y (g - sum(g y))
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x):
    return torch.softmax(x, -1)


ROWS = normal("rows", (3, 5))


@control(
    looks="forward and backward are full of writes in place",
    right="each write goes into memory that the same pass has just made",
    cases=[ROWS, normal("three_axes", (2, 3, 4)), consumed(ROWS, "expanded", "summed_loss")],
    reference=reference,
)
class OwnScratch(Function):
    @staticmethod
    def forward(ctx, x):
        y = x - x.amax(-1, keepdim=True)
        y.exp_()
        y.div_(y.sum(-1, keepdim=True))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        dx = g * y
        dx.addcmul_(y, dx.sum(-1, keepdim=True), value=-1)
        return dx
