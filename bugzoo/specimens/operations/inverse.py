"""Inverse of each matrix.

y  = inv(x)                                      x, y, g, dx: (..., n, n)
dx = -y' g y'
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal


def well_conditioned(x):
    x.add_(5 * torch.eye(x.shape[-1], dtype=x.dtype))


def symmetric(x):
    x.copy_(x + x.mT)
    well_conditioned(x)


RAW = normal("raw", (4, 4))
PLAIN = changed(RAW, "plain", well_conditioned)
CASES = [
    PLAIN,
    changed(normal("raw", (2, 3, 3)), "batched", well_conditioned),
    changed(RAW, "symmetric", symmetric),
    changed(normal("raw", (1, 1)), "one_number", well_conditioned),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=torch.linalg.inv)
class Inverse(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.linalg.inv(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return -y.mT @ g @ y.mT


@bug(
    wrong="the two transposes are missing: -y g y, the formula of the differential",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "batched", "transposed"),
    hidden_by=("symmetric", "one_number"),
)
class DifferentialForGradient(Inverse):
    """dy = -y dx y is what books print. All shapes are square, so no rule for shapes objects; a
    covariance is symmetric, and then there is no difference."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return -y @ g @ y
