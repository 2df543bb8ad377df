"""Rows mixed by the symmetric part of a matrix.

y  = x s,  s = w + w'                            x, y, g, dx: (n, d)   w, dw, s: (d, d)
dx = g s
dw = x' g + g' x
"""

from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x, w):
    return x @ (w + w.mT)


ROWS = normal("rows", (3, 4), (4, 4))


@control(
    looks="the Jacobian stands where its transpose belongs: g s for g s'",
    right="s is symmetric by construction",
    cases=[ROWS, normal("square", (4, 4), (4, 4)), consumed(ROWS, "transposed")],
    reference=reference,
)
class SymmetricMixing(Function):
    @staticmethod
    def forward(ctx, x, w):
        s = w + w.mT
        ctx.save_for_backward(x, s)
        return x @ s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        ds = x.mT @ g
        return g @ s, ds + ds.mT
