"""Rows of a table, picked by index; the gradient is put together as a sparse tensor.

y  = w[i]                                        w, dw: (v, f)   i: (n,)   y, g: (n, f)
dw = sum of g over all places that picked the row
"""

import torch
from torch import Generator
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Case, control
from bugzoo.cases import consumed, leaf


def reference(w, i):
    return F.embedding(i, w)


def repeated(gen: Generator):
    w = torch.randn(6, 3, generator=gen, dtype=torch.float64)
    return leaf(w), torch.tensor([2, 4, 2, 0, 2])


REPEATED = Case("repeated", repeated)


@control(
    looks="the same row is listed several times, and nothing adds the entries up",
    right="a sparse tensor with repeated entries means their sum",
    cases=[REPEATED, consumed(REPEATED, "transposed")],
    reference=reference,
)
class CooEmbedding(Function):
    @staticmethod
    def forward(ctx, w, i):
        ctx.save_for_backward(i)
        ctx.shape = w.shape
        return w[i]

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        dw = torch.sparse_coo_tensor(i[None], g, ctx.shape, check_invariants=True)
        return dw.to_dense(), None
