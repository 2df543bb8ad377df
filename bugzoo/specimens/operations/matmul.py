"""Product of matrices, one pair for each element of the batch.

y  = a b                                         a, da: (p, n, m)   b, db: (p, m, k)
da = g b'                                        y, g:  (p, n, k)
db = a' g
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal, transposed


def same_matrices(a, b):
    b.copy_(b[:1].expand_as(b))


PLAIN = normal("plain", (2, 3, 4), (2, 4, 5))
CASES = [
    PLAIN,
    normal("batch_of_one", (1, 3, 4), (1, 4, 5)),
    changed(PLAIN, "same_matrices", same_matrices),
    transposed("transposed_factors", (2, 3, 4), (2, 4, 5)),
    consumed(PLAIN, "transposed", "transposed_cotangent"),
]


@correct(cases=CASES, reference=torch.bmm)
class Matmul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        da = g @ b.mT
        db = a.mT @ g
        return da, db


@bug(
    wrong="the whole batch is multiplied back by the first matrix",
    family="wrong-math",
    channel="value",
    seen="https://github.com/NVIDIA/warp/issues/147",
    shown_by=("plain", "transposed_factors", "transposed_cotangent"),
    hidden_by=("batch_of_one", "same_matrices"),
)
class FirstMatrixForAll(Matmul):
    """The adjoint of the operation without a batch. In the real case the cause was partly inferred."""

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        da = g @ b[0].mT
        db = a.mT @ g
        return da, db


@bug(
    wrong="the left factor's memory is read as if it were packed, whatever its strides are",
    family="layout-stride",
    channel="value",
    seen="https://github.com/tracel-ai/burn/issues/5304",
    shown_by="transposed_factors",
    hidden_by=("plain", "batch_of_one", "same_matrices", "transposed_cotangent"),
)
class FactorReadAsPacked(Matmul):
    """The forward is right, and so is da. Only a factor that is itself the transpose of something,
    as in a tied embedding, brings it out."""

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        n, m = a.shape[-2:]
        da = g @ b.mT
        db = a.as_strided(a.shape, (n * m, m, 1)).mT @ g
        return da, db
