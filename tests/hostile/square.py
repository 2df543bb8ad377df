"""The square of a number, right and wrong in ways that a run must survive.

y  = x**2                                        x, y, g, dx: any one shape
dx = 2 * x * g
"""

import os
import time

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal


def reference(x):
    return x * x


PLAIN = normal("plain", (3, 4))
CASES = [PLAIN, changed(PLAIN, "zeros", lambda x: x.zero_())]


@correct(cases=CASES, reference=reference)
class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


@bug(
    wrong="the factor 2 is lost",
    family="scaling",
    channel="value",
    shown_by="plain",
    hidden_by="zeros",
)
class LostFactor(Square):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return x * g


@bug(wrong="nothing at all", family="scaling", channel="value", shown_by=("plain", "zeros"))
class Innocent(Square):
    """The label lies."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return x * 2 * g


@bug(wrong="it raises", family="api-contract", channel="contract", shown_by=("plain", "zeros"))
class Loud(Square):
    @staticmethod
    def backward(ctx, g):
        raise ValueError("no gradient today")


@bug(wrong="one gradient too many", family="api-contract", channel="contract", shown_by="plain")
class TooMany(Square):
    """The engine raises, not the subject's own lines."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g, g


@bug(wrong="the process ends", family="api-contract", channel="contract", shown_by="plain")
class Deadly(Square):
    @staticmethod
    def backward(ctx, g):
        os._exit(3)


@bug(wrong="it never ends", family="api-contract", channel="contract", shown_by="plain")
class Endless(Square):
    @staticmethod
    def backward(ctx, g):
        time.sleep(600)
