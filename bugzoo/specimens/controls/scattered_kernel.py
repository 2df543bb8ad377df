"""Correlation of each row with a kernel; backward hands every g to the elements that it came from.

y_j     = sum_i w_i x_{j + i}                    x, dx: (n, t)   w, dw: (k,)
dx_{j+i} += w_i g_j                              y, g:  (n, t - k + 1)
dw_i    = sum_j g_j x_{j + i}
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x, w):
    return F.conv1d(x[:, None], w[None, None])[:, 0]


ROWS = normal("rows", (3, 8), (3,))


@control(
    looks="the kernel is nowhere reversed, as textbooks say it must be",
    right="adding at shifted places reverses it; only gathering needs the flip",
    seen="https://github.com/ddbourgin/numpy-ml/issues/27",
    cases=[ROWS, normal("one_place", (2, 4), (4,)), consumed(ROWS, "narrow")],
    reference=reference,
)
class ScatteredKernel(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x.unfold(-1, len(w), 1) @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx, dw = torch.zeros_like(x), torch.zeros_like(w)
        for i in range(len(w)):
            dx[:, i : i + g.shape[-1]] += w[i] * g
            dw[i] = (g * x[:, i : i + g.shape[-1]]).sum()
        return dx, dw
