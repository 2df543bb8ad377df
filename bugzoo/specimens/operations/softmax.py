"""Softmax over the last axis.

    y  = exp(x) / sum(exp(x))                        x, y, g, dx: (..., f)
    dx = y (g - sum(g y))                            sums over the last axis

The sum is the path through the denominator: it couples the elements of a row, and no others.
Bridle, 1990.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden

ROWS = normal("rows", (3, 5))
CASES = [
    ROWS,
    normal("square", (4, 4)),
    normal("one_row", (1, 5)),
    normal("three_axes", (2, 3, 4)),
    normal("large_logits", (3, 5), scale=300.0),
    consumed(ROWS, "expanded", "summed_loss"),
    consumed(ROWS, "transposed"),
]


@correct(cases=CASES, reference=lambda x: torch.softmax(x, -1), seat=hidden(residual=True))
class Softmax(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gy = g * y
        return gy - y * gy.sum(-1, keepdim=True)


@bug(
    wrong="the row term is dropped, as if every element had its own denominator",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "one_row", "three_axes", "summed_loss"),
)
class DroppedRowTerm(Softmax):
    """Only the diagonal of the Jacobian is kept. Under a summed loss the true gradient is 0."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gy = g * y
        return gy


@bug(
    wrong="the row term is summed over the rows, the wrong one of the two axes",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "square", "three_axes"),
)
class SummedOverRows(Softmax):
    """It broadcasts for every shape, and a single row does not save it."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gy = g * y
        return gy - y * gy.sum(-2, keepdim=True)


@bug(
    wrong="the product g y is written into the cotangent, which belongs to the consumer of y",
    family="saved-tensor-mutation",
    channel="side_effect",
    seen="https://github.com/pytorch/pytorch/pull/178315",
    shown_by=("rows", "square", "one_row", "large_logits"),
)
class ScratchInCotangent(Softmax):
    """dx itself is right, so a check of dx passes; a residual branch beside the softmax gets g y
    instead of g. The loss `y.sum()` is loud: its cotangent has stride 0 and refuses the write."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gy = g.mul_(y)
        return gy - y * gy.sum(-1, keepdim=True)
