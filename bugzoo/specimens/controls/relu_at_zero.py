"""The rectifier at its kink and right beside it.

y  = max(x, 0)                                   x, y, g, dx: any one shape
dx = g where x > 0, else 0                       at x = 0 the subgradient 0, as in torch
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import control
from bugzoo.cases import changed, normal


def some_zeros(x):
    x[::2].zero_()


def all_zero(x):
    x.zero_()


def beside_zero(x):
    x.mul_(1e-9)


PLAIN = normal("plain", (4, 5))


@control(
    looks="a central difference across the kink says 1/2 where the gradient says 0 or 1",
    right="every number from 0 to 1 is a subgradient at 0, and 0 is the convention",
    cases=[
        changed(PLAIN, "some_zeros", some_zeros),
        changed(PLAIN, "all_zero", all_zero),
        changed(PLAIN, "beside_zero", beside_zero),
    ],
    reference=F.relu,
)
class ReluAtZero(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, g, 0.0)


@control(
    looks="the output is saved where the derivative asks for the sign of the input",
    right="the output is positive exactly where the input is",
    cases=[PLAIN, changed(PLAIN, "some_zeros", some_zeros)],
    reference=F.relu,
)
class ReluFromItsOutput(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.clamp(min=0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.where(y > 0, g, 0.0)
