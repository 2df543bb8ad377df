"""Natural logarithm.

y  = log(x)                                      x > 0; x, y, g, dx: any one shape
dx = g / x
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal
from bugzoo.seats import hidden, one_to_two


def positive(x):
    x.abs_().add_(0.1)


def tiny(x):
    x.abs_().add_(0.1).mul_(1e-12)


PLAIN = normal("raw", (4, 5))
CASES = [
    changed(PLAIN, "plain", positive),
    changed(PLAIN, "tiny", tiny),
    changed(PLAIN, "summed_loss", positive, cotangent="ones"),
]


@correct(cases=CASES, reference=torch.log, seat=hidden(before=one_to_two))
class Log(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.log(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / x


@bug(
    wrong="the derivative has a safety term that the logarithm itself has not",
    family="masking-boundary",
    channel="value",
    shown_by="tiny",
    hidden_by=("plain", "summed_loss"),
)
class EpsilonInDerivative(Log):
    """1e-12 changes nothing for numbers of ordinary size. For a probability as small as that,
    where the gradient matters most, half of it is gone."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / (x + 1e-12)
