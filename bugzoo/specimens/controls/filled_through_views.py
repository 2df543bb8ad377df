"""Gated linear unit on two halves; the gradient's buffer is filled through two views of it.

y  = a s,  s = 1 / (1 + exp(-b))                 x = (a, b), dx: (n, 2 f)   y, g: (n, f)
da = g s
db = g a s (1 - s)
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import control
from bugzoo.cases import consumed, normal, transposed

ROWS = normal("rows", (3, 8))


@control(
    looks="an empty buffer is returned, and what is computed goes into other names",
    right="the other names are views of the buffer, for every layout of it",
    seen="https://github.com/state-spaces/mamba/issues/342",
    cases=[ROWS, transposed("transposed_input", (3, 8)), consumed(ROWS, "transposed")],
    reference=F.glu,
)
class FilledThroughViews(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        a, b = x.chunk(2, -1)
        return a * torch.sigmoid(b)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        a, b = x.chunk(2, -1)
        s = torch.sigmoid(b)
        dx = torch.empty_like(x)
        da, db = dx.chunk(2, -1)
        torch.mul(g, s, out=da)
        torch.mul(g, a * s * (1 - s), out=db)
        return dx
