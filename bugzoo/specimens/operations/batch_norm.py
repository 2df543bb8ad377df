"""Batch normalisation in training, with a weight and a bias for each feature.

    z  = (x - mean(x)) / sqrt(var(x) + eps)          x, y, z, g, dx: (n, f)
    y  = w z + b                                     w, b, dw, db:   (f,)
    dx = w (g - mean(g) - z mean(g z)) / sqrt(var(x) + eps)
    dw = sum(g z),  db = sum(g)

Means, sums and the variance (1/n) run over the rows. Ioffe & Szegedy, 2015.
"""

from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden

EPS = 1e-5


def reference(x, w, b):
    return F.batch_norm(x, None, None, w, b, training=True, eps=EPS)


ROWS = normal("rows", (6, 4), (4,), (4,))
CASES = [
    ROWS,
    normal("two_rows", (2, 4), (4,), (4,)),
    normal("small_variance", (6, 4), (4,), (4,), scale=1e-3),
    consumed(ROWS, "ones", "summed_loss"),
    consumed(ROWS, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=hidden((32,), (32,)))
class BatchNorm(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        std = (x.var(-2, correction=0) + EPS).sqrt()
        z = (x - x.mean(-2)) / std
        ctx.save_for_backward(z, std, w)
        return w * z + b

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        db = g.sum(-2)
        dw = (g * z).sum(-2)
        mean_g = g.mean(-2)
        mean_gz = (g * z).mean(-2)
        dx = w * (g - mean_g - z * mean_gz) / std
        return dx, dw, db


@bug(
    wrong="the gradient's path through the batch mean is dropped",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "two_rows", "small_variance", "summed_loss"),
)
class DroppedMeanPath(BatchNorm):
    """The gradient of a summed loss should be exactly 0, and is w / std."""

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        db = g.sum(-2)
        dw = (g * z).sum(-2)
        mean_gz = (g * z).mean(-2)
        dx = w * (g - z * mean_gz) / std
        return dx, dw, db


@bug(
    wrong="the gradient's path through the batch variance is dropped",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "two_rows", "small_variance"),
    hidden_by="summed_loss",
)
class DroppedVariancePath(BatchNorm):
    """A summed loss cannot see it, and neither can a check that the rows of dx sum to zero."""

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        db = g.sum(-2)
        dw = (g * z).sum(-2)
        mean_g = g.mean(-2)
        dx = w * (g - mean_g) / std
        return dx, dw, db


@bug(
    wrong="the backward pass of evaluation: mean and variance are treated as constants",
    family="graph-cut",
    channel="value",
    seen="https://github.com/deeplearning4j/deeplearning4j/pull/8379",
    shown_by=("rows", "two_rows", "small_variance", "summed_loss"),
)
class StatisticsAsConstants(BatchNorm):
    """In evaluation, with running statistics, exactly this is right."""

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        db = g.sum(-2)
        dw = (g * z).sum(-2)
        dx = w * g / std
        return dx, dw, db


@bug(
    wrong="the saved deviation divides by n - 1, the forward by n",
    family="scaling",
    channel="value",
    shown_by=("rows", "two_rows"),
    hidden_by="summed_loss",
)
class UnbiasedDeviation(BatchNorm):
    """A factor sqrt((n - 1) / n): 30 % with two rows, 0.2 % with 256."""

    @staticmethod
    def forward(ctx, x, w, b):
        std = (x.var(-2, correction=0) + EPS).sqrt()
        z = (x - x.mean(-2)) / std
        ctx.save_for_backward(z, (x.var(-2) + EPS).sqrt(), w)
        return w * z + b


@bug(
    wrong="the saved deviation leaves out eps, which the forward has",
    family="masking-boundary",
    channel="value",
    shown_by=("rows", "small_variance"),
    hidden_by="summed_loss",
)
class EpsilonForgotten(BatchNorm):
    """Some 1e-5 relative where the variance is 1, below the tolerance of most checks; a factor
    of three where the variance is 1e-6, as in a channel that is nearly dead."""

    @staticmethod
    def forward(ctx, x, w, b):
        std = (x.var(-2, correction=0) + EPS).sqrt()
        z = (x - x.mean(-2)) / std
        ctx.save_for_backward(z, x.std(-2, correction=0), w)
        return w * z + b
