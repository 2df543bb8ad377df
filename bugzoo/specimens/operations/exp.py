"""Exponential with a ceiling, so that it never overflows.

y  = exp(min(x, 20))                             x, y, g, dx: any one shape
dx = g y where x <= 20, else 0
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden

CEILING = 20.0


def reference(x):
    return torch.exp(x.clamp(max=CEILING))


PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    normal("around_the_ceiling", (4, 5), scale=2.0, shift=20.0),
    normal("far_above", (4, 5), shift=1000.0),
    consumed(PLAIN, "expanded", "summed_loss"),
]


@correct(cases=CASES, reference=reference, seat=hidden(before=torch.tanh))
class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.exp(x.clamp(max=CEILING))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * y * (x <= CEILING)


@bug(
    wrong="the derivative knows nothing of the ceiling: above it the output is constant",
    family="masking-boundary",
    channel="value",
    shown_by=("around_the_ceiling", "far_above"),
    hidden_by=("plain", "summed_loss", "trained"),
)
class CeilingForgotten(Exp):
    """exp(20) is five hundred million: the ceiling was put there to keep such gradients out."""

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * y
