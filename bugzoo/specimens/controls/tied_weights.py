"""An autoencoder layer with one matrix for both directions.

h  = tanh(x w)                                   x, y, g, dx: (n, d)   h, dh: (n, k)
y  = h w'                                        w, dw: (d, k)
dh = (g w) (1 - h h)
dx = dh w'
dw = x' dh + g' h
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x, w):
    return torch.tanh(x @ w) @ w.mT


ROWS = normal("rows", (5, 4), (4, 3))


@control(
    looks="the gradient of the weight is added up from two products, one of them transposed",
    right="the weight is used twice: each use is a path, and paths are added",
    cases=[ROWS, normal("square", (4, 4), (4, 4)), consumed(ROWS, "transposed")],
    reference=reference,
)
class TiedWeights(Function):
    @staticmethod
    def forward(ctx, x, w):
        h = torch.tanh(x @ w)
        ctx.save_for_backward(x, w, h)
        return h @ w.mT

    @staticmethod
    def backward(ctx, g):
        x, w, h = ctx.saved_tensors
        dh = (g @ w) * (1 - h * h)
        dx = dh @ w.mT
        dw = x.mT @ dh + g.mT @ h
        return dx, dw
