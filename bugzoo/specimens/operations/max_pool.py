"""Largest element of each window that slides along the last axis.

    y_j = max(x[s j : s j + k])                      x, dx: (n, t)   y, g: (n, (t - k) // s + 1)
    dx  = sum of g over the windows that an element is the largest of

Of equal elements the one that torch's `max` picks gets all.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import images


def reference(x, size, stride):
    return x.unfold(-1, size, stride).max(-1).values


OVERLAPPING = normal("overlapping", (3, 9), extras=(3, 1))
CASES = [
    OVERLAPPING,
    normal("side_by_side", (3, 9), extras=(3, 3)),
    normal("half_overlapping", (2, 11), extras=(4, 2)),
    normal("one_window", (3, 4), extras=(4, 1)),
    consumed(OVERLAPPING, "narrow"),
]


@correct(cases=CASES, reference=reference, seat=images(48, extras=(3, 1)))
class MaxPool(Function):
    @staticmethod
    def forward(ctx, x, size, stride):
        y, inside = x.unfold(-1, size, stride).max(-1)
        start = stride * torch.arange(y.shape[-1])
        ctx.save_for_backward(inside + start)
        ctx.shape = x.shape
        return y

    @staticmethod
    def backward(ctx, g):
        (index,) = ctx.saved_tensors
        dx = torch.zeros(ctx.shape, dtype=g.dtype)
        dx.scatter_add_(-1, index, g)
        return dx, None, None


@bug(
    wrong="the largest of two windows gets the cotangent of one of them",
    family="missing-reduction",
    channel="value",
    seen=(
        "https://github.com/FluxML/NNlib.jl/issues/205",
        "https://github.com/jmschrei/tangermeme/pull/95",
    ),
    shown_by=("overlapping", "half_overlapping", "narrow"),
    hidden_by=("side_by_side", "one_window"),
)
class OverlapOverwrites(MaxPool):
    """Assigned where it should be added. Most pools have windows side by side, and so have tests."""

    @staticmethod
    def backward(ctx, g):
        (index,) = ctx.saved_tensors
        dx = torch.zeros(ctx.shape, dtype=g.dtype)
        dx.scatter_(-1, index, g)
        return dx, None, None
