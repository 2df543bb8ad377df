"""Cumulative sum along the last axis.

    y_j  = x_1 + ... + x_j                           x, y, g, dx: (..., f)
    dx_i = g_i + ... + g_f

The Jacobian is a triangle of ones; its transpose sums from the other end.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import averaged, hidden


def reference(x):
    return x.cumsum(-1)


ROWS = normal("rows", (3, 5))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 4)),
    normal("one_column", (4, 1)),
    consumed(ROWS, "expanded", "summed_loss"),
    consumed(ROWS, "narrow"),
]


@correct(cases=CASES, reference=reference, seat=hidden(before=averaged))
class Cumsum(Function):
    @staticmethod
    def forward(ctx, x):
        return torch.cumsum(x, -1)

    @staticmethod
    def backward(ctx, g):
        return g.flip(-1).cumsum(-1).flip(-1)


@bug(
    wrong="the cotangent is summed from the front, as the input was",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "three_axes", "summed_loss", "narrow"),
    hidden_by="one_column",
)
class SummedFromTheFront(Cumsum):
    """The Jacobian in place of its transpose, in one word."""

    @staticmethod
    def backward(ctx, g):
        return g.cumsum(-1)


@bug(
    wrong="the sum from the back leaves out the element itself",
    family="masking-boundary",
    channel="value",
    shown_by=("rows", "three_axes", "one_column", "summed_loss", "narrow"),
)
class OneElementLate(Cumsum):
    """The forward sums up to and including an element, the backward from behind it."""

    @staticmethod
    def backward(ctx, g):
        return g.sum(-1, keepdim=True) - g.cumsum(-1)
