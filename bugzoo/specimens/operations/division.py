"""Elementwise quotient.

y  = a / b                                       a, b, y, g, da, db: any one shape
da = g / b
db = -g y / b
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import one_to_two, pair


def away_from_zero(a, b):
    b.copy_(b.sign() * (b.abs() + 0.5))


def unit(a, b):
    b.fill_(1.0)


PLAIN = changed(normal("raw", (4, 5), (4, 5)), "plain", away_from_zero)
CASES = [
    PLAIN,
    changed(PLAIN, "unit_divisor", unit),
    consumed(PLAIN, "ones", "summed_loss"),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=torch.div, seat=pair(before=one_to_two))
class Division(Function):
    @staticmethod
    def forward(ctx, a, b):
        y = a / b
        ctx.save_for_backward(b, y)
        return y

    @staticmethod
    def backward(ctx, g):
        b, y = ctx.saved_tensors
        da = g / b
        db = -g * y / b
        return da, db


@bug(
    wrong="the divisor's gradient has the wrong sign",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "unit_divisor", "summed_loss", "transposed"),
)
class SignLost(Division):
    """The plainest bug of the collection: a check that misses this one checks nothing."""

    @staticmethod
    def backward(ctx, g):
        b, y = ctx.saved_tensors
        da = g / b
        db = g * y / b
        return da, db


@bug(
    wrong="the divisor's gradient lacks the inner division: -g y where -g y / b belongs",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "summed_loss", "transposed"),
    hidden_by="unit_divisor",
)
class DividedOnce(Division):
    """y is a / b already, so one of the two divisions of -a / b b is easily forgotten."""

    @staticmethod
    def backward(ctx, g):
        b, y = ctx.saved_tensors
        da = g / b
        db = -g * y
        return da, db
