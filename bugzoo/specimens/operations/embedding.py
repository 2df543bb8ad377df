"""Rows of a table, picked by index; rows of the padding index get no gradient.

    y  = w[i]                                        w, dw: (v, f)   i: (n,)   y, g: (n, f)
    dw = sum of g over all places that picked the row

The sum is kept in 32 bits at least and rounded to the table's type at the end.
"""

import torch
from torch import Generator
from torch.autograd import Function

from bugzoo import Case, bug, correct
from bugzoo.cases import consumed, leaf
from bugzoo.seats import table

PADDING = 0
BFLOAT16 = 2**-7  # relative: 8 bits of precision, rounded once


def reference(w, i):
    constant = torch.arange(len(w))[:, None] == PADDING
    wide = w.to(torch.promote_types(w.dtype, torch.float32))
    return torch.where(constant, wide.detach(), wide)[i].to(w.dtype)


def repeated(gen: Generator):
    w = torch.randn(6, 3, generator=gen, dtype=torch.float64)
    return leaf(w), torch.tensor([2, 4, 2, 5, 2])


def distinct(gen: Generator):
    return repeated(gen)[0], torch.tensor([4, 1, 5, 3])


def padded(gen: Generator):
    return repeated(gen)[0], torch.tensor([4, 1, 5, PADDING])


def frequent(gen: Generator):
    return leaf(repeated(gen)[0].bfloat16()), torch.full((600,), 3)


REPEATED = Case("repeated", repeated)
CASES = [
    REPEATED,
    Case("distinct", distinct),
    Case("padded", padded),
    Case("frequent_in_16_bits", frequent, "ones", rtol=BFLOAT16),
    consumed(REPEATED, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=table(), declares="stop_gradient")
class Embedding(Function):
    @staticmethod
    def forward(ctx, w, i):
        ctx.save_for_backward(w, i)
        return w[i]

    @staticmethod
    def backward(ctx, g):
        w, i = ctx.saved_tensors
        wide = torch.promote_types(w.dtype, torch.float32)
        dw = torch.zeros_like(w, dtype=wide)
        dw.index_put_((i,), g.to(wide), accumulate=True)
        dw[PADDING] = 0
        return dw.to(w.dtype), None


@bug(
    wrong="a row that was picked several times gets only one of its cotangents",
    family="missing-reduction",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/1631",
    shown_by=("repeated", "transposed", "frequent_in_16_bits"),
    hidden_by=("distinct", "padded"),
)
class DuplicatesOverwrite(Embedding):
    """Assigned where it should be added. The more frequent a word, the more of it is lost."""

    @staticmethod
    def backward(ctx, g):
        w, i = ctx.saved_tensors
        wide = torch.promote_types(w.dtype, torch.float32)
        dw = torch.zeros_like(w, dtype=wide)
        dw.index_put_((i,), g.to(wide))
        dw[PADDING] = 0
        return dw.to(w.dtype), None


@bug(
    wrong="the padding index is ignored, so the padding learns",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/28716",
    shown_by="padded",
    hidden_by=("repeated", "distinct", "frequent_in_16_bits", "transposed"),
)
class PaddingLearns(Embedding):
    """The real one came up only on the code path for more than 768 indices."""

    @staticmethod
    def backward(ctx, g):
        w, i = ctx.saved_tensors
        wide = torch.promote_types(w.dtype, torch.float32)
        dw = torch.zeros_like(w, dtype=wide)
        dw.index_put_((i,), g.to(wide), accumulate=True)
        return dw.to(w.dtype), None


@bug(
    wrong="the sum is kept in the table's own type, where 256 + 1 is 256",
    family="dtype-precision",
    channel="value",
    seen="https://github.com/fla-org/flash-linear-attention/pull/37",
    shown_by="frequent_in_16_bits",
    hidden_by=("repeated", "distinct", "padded", "transposed", "trained"),
)
class NarrowSum(Embedding):
    """Right in 64 bits, where gradients are checked. In 16 bits the sum of a frequent word stops
    growing at 256 equal shares. The real one was the state of a scan; indexing in torch 2.13 does
    the same on a CPU, which is why the reference is wide."""

    @staticmethod
    def backward(ctx, g):
        w, i = ctx.saved_tensors
        dw = torch.zeros_like(w)
        dw.index_put_((i,), g, accumulate=True)
        dw[PADDING] = 0
        return dw, None
