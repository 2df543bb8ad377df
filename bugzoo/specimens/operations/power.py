"""A power whose base and exponent are both differentiated.

y  = x ** k                                      x >= 0; x, k, y, g, dx, dk: any one shape
dx = g k x ** (k - 1)
dk = g y log(x)                                  0 where x = 0 and k > 0: the limit
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal
from bugzoo.seats import one_to_two, pair


def positive(x, k):
    x.abs_().add_(0.1)
    k.abs_().add_(1.5)


def zeros(x, k):
    positive(x, k)
    x[0].zero_()


def ones(x, k):
    x.fill_(1.0)


RAW = normal("raw", (4, 5), (4, 5))
CASES = [
    changed(RAW, "plain", positive),
    changed(RAW, "zero_base", zeros),
    changed(RAW, "unit_base", ones),
    changed(RAW, "summed_loss", positive, cotangent="ones"),
]


@correct(cases=CASES, reference=torch.pow, seat=pair(before=one_to_two))
class Power(Function):
    @staticmethod
    def forward(ctx, x, k):
        y = x**k
        ctx.save_for_backward(x, k, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, k, y = ctx.saved_tensors
        dx = g * k * x ** (k - 1)
        dk = g * torch.where(x > 0, y * x.log(), 0.0)
        return dx, dk


@bug(
    wrong="the exponent's gradient is 0 log(0) at a zero base: NaN where the limit is 0",
    family="masking-boundary",
    channel="value",
    seen=(
        "https://github.com/pytorch/pytorch/issues/27134",
        "https://github.com/tensorflow/tfjs/issues/346",
    ),
    shown_by="zero_base",
    hidden_by=("plain", "unit_base", "summed_loss"),
)
class NanAtZeroBase(Power):
    """An exponent shared by the whole batch is lost for good as soon as one base is 0."""

    @staticmethod
    def backward(ctx, g):
        x, k, y = ctx.saved_tensors
        dx = g * k * x ** (k - 1)
        dk = g * y * x.log()
        return dx, dk


@bug(
    wrong="the exponent is treated as a constant and gets no gradient",
    family="graph-cut",
    channel="value",
    shown_by=("plain", "zero_base", "summed_loss"),
    hidden_by="unit_base",
)
class ExponentAsConstant(Power):
    """None in its slot is what an integer exponent would get; a trained one never moves."""

    @staticmethod
    def backward(ctx, g):
        x, k, y = ctx.saved_tensors
        dx = g * k * x ** (k - 1)
        return dx, None


@bug(
    wrong="the exponent is brought down but not lowered: k x ** k",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "summed_loss"),
    hidden_by="unit_base",
)
class ExponentNotLowered(Power):
    """The output is at hand and is nearly what is needed: it lacks a division by x."""

    @staticmethod
    def backward(ctx, g):
        x, k, y = ctx.saved_tensors
        dx = g * k * y
        dk = g * torch.where(x > 0, y * x.log(), 0.0)
        return dx, dk
