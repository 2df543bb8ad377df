"""Sines of high frequency, as in a positional code of real numbers.

y  = sin(300000 x)                               x, y, g, dx: any one shape
dx = 300000 g cos(300000 x)
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal

FREQUENCY = 3e5


def reference(x):
    return torch.sin(FREQUENCY * x)


PLAIN = normal("plain", (4, 5))


@control(
    looks="a step of a millionth is a third of a radian, and differences are off by percents",
    right="the function turns that fast; its derivative is exact",
    cases=[PLAIN, normal("three_axes", (2, 3, 4)), consumed(PLAIN, "transposed")],
    reference=reference,
)
class FastOscillation(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(FREQUENCY * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * FREQUENCY * torch.cos(FREQUENCY * x)
