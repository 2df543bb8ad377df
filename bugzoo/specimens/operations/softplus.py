"""Softplus, a smooth rectifier.

    y  = log(1 + exp(x))                             x, y, g, dx: any one shape
    dx = g / (1 + exp(-x))

Computed as max(x, 0) + log(1 + exp(-|x|)), which never overflows.
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import hidden


def reference(x):
    return -F.logsigmoid(-x)


def zeros(x):
    x[0].zero_()


PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    changed(PLAIN, "some_zeros", zeros),
    normal("large", (4, 5), scale=1000.0),
    consumed(PLAIN, "expanded", "summed_loss"),
]


@correct(cases=CASES, reference=reference, twice=True, seat=hidden())
class Softplus(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.sigmoid(x)


@bug(
    wrong="at exactly 0 the slope is 0, where it is 1/2",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/jax-ml/jax/issues/2107",
    shown_by="some_zeros",
    hidden_by=("plain", "large", "summed_loss", "trained"),
)
class FlatAtZero(Softplus):
    """The stable formula, differentiated term by term: max and abs each choose 0 at their kink,
    though the kinks cancel. A bias that begins at 0 is all it takes."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        e = torch.exp(-x.abs())
        step = (x > 0).to(x.dtype)
        return g * (step - x.sign() * e / (1 + e))


@bug(
    wrong="the slope is exp(x) / (1 + exp(x)), infinity over infinity for large x",
    family="masking-boundary",
    channel="value",
    shown_by="large",
    hidden_by=("plain", "some_zeros", "summed_loss", "trained"),
)
class OverflowsToNan(Softplus):
    """The forward was made safe, the backward was not."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        e = torch.exp(x)
        return g * e / (1 + e)


@bug(
    wrong="backward runs without recording, so a second derivative has nothing to follow",
    family="higher-order",
    channel="second_order",
    shown_by=("plain", "some_zeros", "large", "summed_loss"),
    hidden_by="trained",
)
class NotRecorded(Softplus):
    """Meant to save memory. A second derivative would raise an error if it were alone; in a sum
    with other terms, as in a gradient penalty, its share is silently missing."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            return g * torch.sigmoid(x)
