"""Sine and cosine at once: one input, two outputs.

s, c = sin(x), cos(x)                            x, s, c, dx: any one shape
dx   = gs c - gc s                               gs, gc: the cotangents of s and c
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal


def reference(x):
    return torch.sin(x), torch.cos(x)


def zero(x):
    x.zero_()


PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    changed(PLAIN, "at_zero", zero),
    consumed(PLAIN, "ones", "summed_loss"),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=reference)
class Sincos(Function):
    @staticmethod
    def forward(ctx, x):
        s, c = torch.sin(x), torch.cos(x)
        ctx.save_for_backward(s, c)
        return s, c

    @staticmethod
    def backward(ctx, gs, gc):
        s, c = ctx.saved_tensors
        return gs * c - gc * s


@bug(
    wrong="each output's cotangent is taken for that of the other",
    family="api-contract",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/180642",
    shown_by=("plain", "at_zero", "transposed"),
    hidden_by="summed_loss",
)
class CotangentsSwapped(Sincos):
    """A loss that treats both outputs alike, such as their sum, cannot tell. In the real case a
    compiler numbered the outputs anew."""

    @staticmethod
    def backward(ctx, gc, gs):
        s, c = ctx.saved_tensors
        return gs * c - gc * s


@bug(
    wrong="the second output's cotangent is left out",
    family="missing-reduction",
    channel="value",
    shown_by=("plain", "summed_loss", "transposed"),
    hidden_by="at_zero",
)
class SecondOutputIgnored(Sincos):
    """Right as long as only the sine is used."""

    @staticmethod
    def backward(ctx, gs, gc):
        s, c = ctx.saved_tensors
        return gs * c
