"""Each row times a number of its own.

y  = x s                                         x, y, g, dx: (n, f)   s, ds: (n, 1)
dx = g s
ds = sum(g x)                                    over the row
"""

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal


def reference(x, s):
    return x * s


def constant_rows(x, s):
    x.copy_(x[:, :1].expand_as(x))


ROWS = normal("rows", (4, 5), (4, 1))
CASES = [
    ROWS,
    normal("one_column", (4, 1), (4, 1)),
    changed(ROWS, "constant_rows", constant_rows),
    consumed(ROWS, "expanded", "summed_loss"),
    consumed(ROWS, "transposed"),
]


@correct(cases=CASES, reference=reference)
class BroadcastProduct(Function):
    @staticmethod
    def forward(ctx, x, s):
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        dx = g * s
        ds = (g * x).sum(-1, keepdim=True)
        return dx, ds


@bug(
    wrong="the number of a row gets the gradient of the first column only",
    family="missing-reduction",
    channel="value",
    seen="https://github.com/mlpack/mlpack/pull/3679",
    shown_by=("rows", "constant_rows", "summed_loss", "transposed"),
    hidden_by="one_column",
)
class SliceForSum(BroadcastProduct):
    """The shape was wrong, so it was cut to size."""

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        dx = g * s
        ds = (g * x)[:, :1]
        return dx, ds


@bug(
    wrong="x is averaged before it meets the cotangent: sum(g) mean(x) for sum(g x)",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "transposed"),
    hidden_by=("one_column", "constant_rows", "summed_loss"),
)
class AveragedTooEarly(BroadcastProduct):
    """A sum of products is no product of sums, unless one of the two is constant; under a summed
    loss the cotangent is."""

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        dx = g * s
        ds = g.sum(-1, keepdim=True) * x.mean(-1, keepdim=True)
        return dx, ds
