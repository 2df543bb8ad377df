"""Leaky rectifier, written for a kernel that walks through memory.

y  = x where x > 0, else a x                     x, y, g, dx: any one shape
dx = g where x > 0, else a g
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal, transposed
from bugzoo.seats import hidden

PLAIN = normal("plain", (4, 5), extras=(0.1,))
CASES = [
    PLAIN,
    normal("negative_slope", (4, 5), extras=(-0.5,)),
    transposed("transposed_input", (4, 5), extras=(0.1,)),
    consumed(PLAIN, "transposed", "transposed_cotangent"),
]


@correct(cases=CASES, reference=F.leaky_relu, seat=hidden(extras=(0.1,)))
class LeakyRelu(Function):
    @staticmethod
    def forward(ctx, x, slope):
        y = torch.where(x > 0, x, slope * x)
        ctx.save_for_backward(x)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        dx.copy_(torch.where(x > 0, g, ctx.slope * g))
        return dx, None


@bug(
    wrong="the output is saved in place of the input, and its sign is asked instead",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/31938",
    shown_by="negative_slope",
    hidden_by=("plain", "transposed_input", "transposed_cotangent", "trained"),
)
class SignOfTheOutput(LeakyRelu):
    """What makes the operation possible in place. With a negative slope every output is positive."""

    @staticmethod
    def forward(ctx, x, slope):
        y = torch.where(x > 0, x, slope * x)
        ctx.save_for_backward(y)
        ctx.slope = slope
        return y


@bug(
    wrong="the gradient's buffer has the strides of x and is filled as if it were packed",
    family="layout-stride",
    channel="value",
    shown_by="transposed_input",
    hidden_by=("plain", "negative_slope", "transposed_cotangent", "trained"),
)
class FilledAsPacked(LeakyRelu):
    """`empty_like` keeps the strides of a transposed input. Every number is right and, unless x is
    contiguous, in the wrong place."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        flat = dx.as_strided((dx.numel(),), (1,))
        flat.copy_(torch.where(x > 0, g, ctx.slope * g).flatten())
        return dx, None
