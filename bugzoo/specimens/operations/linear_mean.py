"""Linear layer under the mean over the batch, as lessons on backpropagation write it.

    y  = mean over rows of (h w + b)                 h, dh: (n, d)   w, dw: (d, k)
    dh = g w' / n, the same in every row             y, g:  (k,)     b, db: (k,)
    dw = h' (g / n in every row)
    db = g

The 1/n belongs to everything that a row contributes to, so to dh and dw; b is added n times and
divided by n. Nielsen, 2015, chapter 2.
"""

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal


def reference(h, w, b):
    return (h @ w + b).mean(-2)


def symmetric(h, w, b):
    w.copy_(w + w.mT)


TALL = normal("tall", (5, 3), (3, 2), (2,))
SQUARE = normal("square", (4, 3), (3, 3), (3,))
CASES = [
    TALL,
    SQUARE,
    changed(SQUARE, "symmetric_weight", symmetric),
    normal("one_row", (1, 3), (3, 2), (2,)),
    consumed(TALL, "ones", "summed_loss"),
]


@correct(cases=CASES, reference=reference)
class LinearMean(Function):
    @staticmethod
    def forward(ctx, h, w, b):
        ctx.save_for_backward(h, w)
        return (h @ w + b).mean(-2)

    @staticmethod
    def backward(ctx, g):
        h, w = ctx.saved_tensors
        rows = g.expand(len(h), -1) / len(h)
        dh = rows @ w.mT
        dw = h.mT @ rows
        db = rows.sum(-2)
        return dh, dw, db


@bug(
    wrong="the 1/n of the mean is missing, so every gradient is n times too large",
    family="scaling",
    channel="value",
    shown_by=("tall", "square", "symmetric_weight", "summed_loss"),
    hidden_by="one_row",
)
class MeanNotDivided(LinearMean):
    """The learning rate is tuned against it, and holds until somebody changes the batch size."""

    @staticmethod
    def backward(ctx, g):
        h, w = ctx.saved_tensors
        rows = g.expand(len(h), -1)
        dh = rows @ w.mT
        dw = h.mT @ rows
        db = rows.sum(-2)
        return dh, dw, db


@bug(
    wrong="the bias is divided by n a second time",
    family="scaling",
    channel="value",
    shown_by=("tall", "square", "symmetric_weight", "summed_loss"),
    hidden_by="one_row",
)
class BiasDividedTwice(LinearMean):
    """dh and dw are right; only the bias, which few people look at, learns n times too slowly."""

    @staticmethod
    def backward(ctx, g):
        h, w = ctx.saved_tensors
        rows = g.expand(len(h), -1) / len(h)
        dh = rows @ w.mT
        dw = h.mT @ rows
        db = rows.mean(-2)
        return dh, dw, db
