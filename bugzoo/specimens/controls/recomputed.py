"""A layer that keeps its input only and runs its forward again in backward.

y = tanh(x w)                                    x, dx: (n, d)   w, dw: (d, k)   y, g: (n, k)
"""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x, w):
    return torch.tanh(x @ w)


ROWS = normal("rows", (5, 3), (3, 2))


@control(
    looks="the inputs are detached in backward, and the forward is run a second time",
    right="a checkpoint: memory bought with time, for a first derivative",
    cases=[ROWS, normal("one_row", (1, 3), (3, 2)), consumed(ROWS, "transposed")],
    reference=reference,
)
class Recomputed(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return torch.tanh(x @ w)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, w = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        with torch.enable_grad():
            y = torch.tanh(x @ w)
        return torch.autograd.grad(y, (x, w), g)
