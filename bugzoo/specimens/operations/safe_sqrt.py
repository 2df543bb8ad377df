"""Square root that is 0 for negative numbers.

y  = sqrt(x) where x > 0, else 0                 x, y, g, dx: any one shape
dx = g / (2 y) where x > 0, else 0
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal
from bugzoo.seats import hidden


def reference(x):
    inside = x > 0
    return torch.where(inside, torch.where(inside, x, 1.0).sqrt(), 0.0)


def positive(x):
    x.abs_().add_(0.1)


def zeros(x):
    positive(x)
    x[0].zero_()


SIGNED = normal("both_signs", (4, 5))
CASES = [
    SIGNED,
    changed(SIGNED, "positive", positive),
    changed(SIGNED, "some_zeros", zeros),
    changed(SIGNED, "summed_loss", positive, cotangent="ones"),
]


@correct(cases=CASES, reference=reference, seat=hidden())
class SafeSqrt(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.clamp(min=0).sqrt()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return torch.where(y > 0, 0.5 * g / y, 0.0)


@bug(
    wrong="the cotangent is masked, and then divided by 0 all the same: 0 / 0 is NaN",
    family="masking-boundary",
    channel="value",
    seen=(
        "https://github.com/pytorch/pytorch/issues/23156",
        "https://github.com/tinygrad/tinygrad/pull/15806",
    ),
    shown_by=("both_signs", "some_zeros"),
    hidden_by=("positive", "summed_loss"),
)
class MaskedBeforeDivided(SafeSqrt):
    """A mask has to choose between results. A product with 0 does not undo an infinity."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return 0.5 * g * (y > 0) / y
