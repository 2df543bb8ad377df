"""SiLU whose slope is computed in forward: one derivative is promised, not two.

y  = x s,  s = 1 / (1 + exp(-x))                 x, y, g, dx: any one shape
dx = g (s + x s (1 - s))
"""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bugzoo import control
from bugzoo.cases import consumed, normal

PLAIN = normal("plain", (4, 5))
CASES = [PLAIN, normal("three_axes", (2, 3, 4)), consumed(PLAIN, "transposed")]


@control(
    looks="a second derivative raises an error",
    right="only the first is promised, and the decorator says so",
    cases=CASES,
    reference=F.silu,
)
class OnceDifferentiable(Function):
    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(x)
        ctx.save_for_backward(s + x * s * (1 - s))
        return x * s

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope


@control(
    looks="the second derivative is silently 0, as the saved slope is a constant to it",
    right="only the first is promised; most kernels are written so",
    seen="https://github.com/pytorch/pytorch/issues/104040",
    cases=CASES,
    reference=F.silu,
)
class SlopeSaved(Function):
    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(x)
        ctx.save_for_backward(s + x * s * (1 - s))
        return x * s

    @staticmethod
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope
