"""Log-softmax over the last axis; with class indices, only each row's picked element.

y  = x - log(sum(exp(x)))                        x, y, g, dx: (..., f)
dx = g - exp(y) sum(g)                           sum over the last axis
"""

import torch
from torch import Generator
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Case, bug, correct
from bugzoo.cases import consumed, leaf, normal
from bugzoo.seats import log_scores


def reference(x, *classes):
    y = F.log_softmax(x, -1)
    return y.gather(-1, *classes) if classes else y


def picked(gen: Generator):
    x = torch.randn(4, 5, generator=gen, dtype=torch.float64)
    return leaf(x), torch.randint(5, (4, 1), generator=gen)


ROWS = normal("rows", (4, 5))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 4)),
    normal("large_logits", (4, 5), scale=300.0),
    consumed(ROWS, "ones", "summed_loss"),
    Case("likelihood", picked, "ones"),
    Case("weighted_likelihood", picked),
]


@correct(cases=CASES, reference=reference, seat=log_scores())
class LogSoftmax(Function):
    @classmethod
    def apply(cls, x, *classes):
        y = super().apply(x)
        return y.gather(-1, *classes) if classes else y

    @staticmethod
    def forward(ctx, x):
        y = x - torch.logsumexp(x, -1, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g - y.exp() * g.sum(-1, keepdim=True)


@bug(
    wrong="the cotangent is taken for a one-hot target, whose sum is 1",
    family="wrong-math",
    channel="value",
    seen="https://github.com/mlpack/mlpack/issues/2360",
    shown_by=("rows", "three_axes", "large_logits", "summed_loss", "weighted_likelihood"),
    hidden_by="likelihood",
)
class OneHotAssumed(LogSoftmax):
    """The textbook's `target - probability`. Behind a plain likelihood the cotangent is one-hot and
    all is well; a mean over the rows, a weight or a smoothed label is enough to make it wrong."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g - y.exp()


@bug(
    wrong="the saved logarithms stand where the probabilities belong",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "three_axes", "large_logits", "summed_loss", "likelihood"),
)
class LogsForProbabilities(LogSoftmax):
    """The softmax's formula fed with the log-softmax's output."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g - y * g.sum(-1, keepdim=True)
