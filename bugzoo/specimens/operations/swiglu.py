"""Gated linear unit with a SiLU gate.

    y  = a s b,  s = 1 / (1 + exp(-a))               a, b, y, g, da, db: any one shape
    da = g b (s + a s (1 - s))
    db = g a s

Shazeer, 2020.
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import pair


def reference(a, b):
    return F.silu(a) * b


def zero_gates(a, b):
    a.zero_()


PLAIN = normal("plain", (4, 5), (4, 5))
CASES = [
    PLAIN,
    normal("three_axes", (2, 3, 4), (2, 3, 4)),
    changed(PLAIN, "zero_gates", zero_gates),
    consumed(PLAIN, "narrow"),
]


@correct(cases=CASES, reference=reference, seat=pair())
class Swiglu(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * torch.sigmoid(a) * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        da = g * b * (s + a * s * (1 - s))
        db = g * a * s
        return da, db


@bug(
    wrong="the gradients are written into the memory of the saved inputs",
    family="saved-tensor-mutation",
    channel="side_effect",
    seen="https://github.com/linkedin/Liger-Kernel/issues/254",
    shown_by=("plain", "three_axes", "zero_gates", "narrow"),
)
class GradientsOverInputs(Swiglu):
    """Two buffers less. `.data` escapes autograd's version count: whoever else saved a or b, an
    operation before or a second backward, goes on with gradients in their place."""

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        da = g * b * (s + a * s * (1 - s))
        db = g * a * s
        return a.data.copy_(da), b.data.copy_(db)


@bug(
    wrong="the product rule is applied to a b but not to a s: the slope of the gate is s",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "three_axes", "narrow"),
    hidden_by="zero_gates",
)
class GateSlopeForgotten(Swiglu):
    """Right where the gate's input is 0, and nearly right where the gate is wide open."""

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        da = g * b * s
        db = g * a * s
        return da, db
