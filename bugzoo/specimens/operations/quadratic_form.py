"""Quadratic form of each row with one matrix.

y  = x' A x                                      x, dx: (n, d)   A, dA: (d, d)   y, g: (n,)
dx = g (A + A') x
dA = sum(g x x')                                 over the rows
"""

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal


def reference(x, a):
    return ((x @ a) * x).sum(-1)


def symmetric(x, a):
    a.copy_(a + a.mT)


def diagonal(x, a):
    a.copy_(a.diag().diag())


ROWS = normal("rows", (3, 4), (4, 4))
CASES = [
    ROWS,
    normal("one_row", (1, 4), (4, 4)),
    changed(ROWS, "symmetric_matrix", symmetric),
    changed(ROWS, "diagonal_matrix", diagonal),
]


@correct(cases=CASES, reference=reference)
class QuadraticForm(Function):
    @staticmethod
    def forward(ctx, x, a):
        ctx.save_for_backward(x, a)
        return ((x @ a) * x).sum(-1)

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        gx = g[:, None] * x
        dx = gx @ (a + a.mT)
        da = gx.mT @ x
        return dx, da


@bug(
    wrong="the matrix is taken to be symmetric: 2 A x for (A + A') x",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "one_row"),
    hidden_by=("symmetric_matrix", "diagonal_matrix"),
)
class SymmetryAssumed(QuadraticForm):
    """A covariance is symmetric, and so it is in the test. A trained matrix does not stay so."""

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        gx = g[:, None] * x
        dx = 2 * gx @ a.mT
        da = gx.mT @ x
        return dx, da
