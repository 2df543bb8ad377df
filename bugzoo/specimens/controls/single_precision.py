"""Log of a sum of exponentials, in 32 bits.

y  = log(sum(exp(x)))                            x, dx: (n, f)   y, g: (n,)
dx = g softmax(x)
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal

FLOAT32 = 1e-5  # relative: 24 bits, a dozen roundings on either side


def reference(x):
    return torch.logsumexp(x, -1)


ROWS = normal("rows", (4, 5), dtype=torch.float32, rtol=FLOAT32)


@control(
    looks="differences of a forward with 7 digits miss the gradient by a percent",
    right="to the precision that its inputs have it is right",
    cases=[
        ROWS,
        normal("large_offset", (4, 5), shift=1000.0, dtype=torch.float32, rtol=FLOAT32),
        consumed(ROWS, "narrow"),
    ],
    reference=reference,
)
class SinglePrecision(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.logsumexp(x, -1, keepdim=True)
        ctx.save_for_backward(torch.exp(x - y))
        return y.squeeze(-1)

    @staticmethod
    def backward(ctx, g):
        (p,) = ctx.saved_tensors
        return g[..., None] * p
