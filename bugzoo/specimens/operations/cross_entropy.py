"""Softmax and cross-entropy in one, from logits and class indices.

y  = log(sum(exp(x))) - x[class]                 x, dx: (n, c)   a number for each row
dx = g (softmax(x) - onehot(class))              reduction "none": g, y: (n,)
                                                 reduction "sum", "mean": g, y scalar; the mean
                                                 divides by n
"""

import torch
from torch import Generator
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Case, bug, correct
from bugzoo.cases import leaf
from bugzoo.seats import loss


def reference(x, classes, reduction):
    return F.cross_entropy(x, classes, reduction=reduction)


def rows(gen: Generator):
    x = torch.randn(4, 5, generator=gen, dtype=torch.float64)
    return leaf(x), torch.randint(5, (4,), generator=gen)


def one_row(gen: Generator):
    x, classes = rows(gen)
    return leaf(x[:1]), classes[:1]


def surely_wrong(gen: Generator):
    x, classes = rows(gen)
    x = x.detach().scatter(-1, classes[:, None], -1000.0)
    return leaf(x), classes


CASES = [
    Case("mean", rows, extras=("mean",)),
    Case("sum", rows, extras=("sum",)),
    Case("none", rows, extras=("none",)),
    Case("one_row", one_row, extras=("mean",)),
    Case("plain_sum", rows, "ones", extras=("sum",)),
    Case("surely_wrong", surely_wrong, extras=("mean",)),
]


@correct(cases=CASES, reference=reference, seat=loss(extras=("mean",)))
class CrossEntropy(Function):
    @staticmethod
    def forward(ctx, x, classes, reduction):
        y = torch.logsumexp(x, -1) - x.gather(-1, classes[:, None])[:, 0]
        p = torch.softmax(x, -1)
        ctx.save_for_backward(p, classes)
        ctx.reduction = reduction
        return {"mean": y.mean(), "sum": y.sum(), "none": y}[reduction]

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        onehot = F.one_hot(classes, p.shape[-1])
        if ctx.reduction == "mean":
            g = g / len(p)
        if ctx.reduction == "none":
            g = g[:, None]
        return g * (p - onehot), None, None


@bug(
    wrong="the mean's 1/n is missing: the gradient is that of the sum",
    family="scaling",
    channel="value",
    shown_by=("mean", "surely_wrong"),
    hidden_by=("sum", "none", "one_row", "plain_sum"),
)
class MeanNotDivided(CrossEntropy):
    """The direction is right and every step is n times too long. Adam forgives a constant factor,
    plain gradient descent does not, and a clipped norm is clipped always."""

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        onehot = F.one_hot(classes, p.shape[-1])
        if ctx.reduction == "none":
            g = g[:, None]
        return g * (p - onehot), None, None


@bug(
    wrong="every reduction is treated as a mean, so the gradient of a sum is divided by n",
    family="scaling",
    channel="value",
    seen="https://github.com/paiml/aprender/pull/2182",
    shown_by=("sum", "none", "plain_sum"),
    hidden_by=("mean", "one_row", "surely_wrong", "trained"),
)
class AlwaysDivided(CrossEntropy):
    """The learning rate of a summed loss is cut by the batch size; the mean, the default, is right."""

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        onehot = F.one_hot(classes, p.shape[-1])
        g = g / len(p)
        if ctx.reduction == "none":
            g = g[:, None]
        return g * (p - onehot), None, None


@bug(
    wrong="the first row's cotangent is used for all rows",
    family="scaling",
    channel="value",
    seen="https://github.com/paiml/aprender/pull/2182",
    shown_by="none",
    hidden_by=("mean", "sum", "one_row", "plain_sum", "surely_wrong", "trained"),
)
class FirstRowForAll(CrossEntropy):
    """A scalar was expected and `g[0]` is one. Right whenever a mean or a sum follows, for then
    all rows have the same cotangent; wrong as soon as rows are weighted or masked."""

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        onehot = F.one_hot(classes, p.shape[-1])
        if ctx.reduction == "mean":
            g = g / len(p)
        if ctx.reduction == "none":
            g = g[0]
        return g * (p - onehot), None, None


@bug(
    wrong="the target is forgotten: dx = g p pushes every logit down",
    family="wrong-math",
    channel="value",
    shown_by=("mean", "sum", "none", "one_row", "plain_sum", "surely_wrong"),
)
class TargetForgotten(CrossEntropy):
    """A statement `p[i, class] -= 1` that was lost on the way."""

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        if ctx.reduction == "mean":
            g = g / len(p)
        if ctx.reduction == "none":
            g = g[:, None]
        return g * p, None, None


@bug(
    wrong="one of the two terms is not multiplied by the cotangent",
    family="scaling",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/11750",
    shown_by=("mean", "sum", "none", "one_row"),
    hidden_by="plain_sum",
)
class OneTermUnscaled(CrossEntropy):
    """Right for the loss itself, wrong for twice the loss: a gradient that is not linear in g.
    A loss scale, a second loss term or a mean brings it out. The real one was a CTC loss."""

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        onehot = F.one_hot(classes, p.shape[-1])
        if ctx.reduction == "mean":
            g = g / len(p)
        if ctx.reduction == "none":
            g = g[:, None]
        return g * p - onehot, None, None


@bug(
    wrong="the gradient goes through log(p), and p underflows to 0: 0 / 0 in place of -1",
    family="masking-boundary",
    channel="value",
    shown_by="surely_wrong",
    hidden_by=("mean", "sum", "none", "one_row", "plain_sum", "trained"),
)
class ThroughTheLogarithm(CrossEntropy):
    """First the derivative of the logarithm, then that of the softmax: equal on paper. The loss
    itself stays finite, so nothing warns before the weights are NaN."""

    @staticmethod
    def backward(ctx, g):
        p, classes = ctx.saved_tensors
        onehot = F.one_hot(classes, p.shape[-1])
        if ctx.reduction == "mean":
            g = g / len(p)
        if ctx.reduction == "none":
            g = g[:, None]
        dp = -g * onehot / p
        return p * (dp - (dp * p).sum(-1, keepdim=True)), None, None


@bug(
    wrong="the forward writes the probabilities over the logits, which belong to another node",
    family="saved-tensor-mutation",
    channel="side_effect",
    seen=(
        "https://github.com/linkedin/Liger-Kernel/pull/1251",
        "https://github.com/unslothai/unsloth/issues/5002",
    ),
    shown_by=("mean", "sum", "none", "one_row", "plain_sum", "surely_wrong"),
    hidden_by="trained",
)
class ProbabilitiesOverLogits(CrossEntropy):
    """The largest buffer of a language model is used twice. `.data` escapes autograd's version
    count, so a node that saved the logits goes on with the probabilities, and nobody is told.
    The real ones wrote the gradient there."""

    @staticmethod
    def forward(ctx, x, classes, reduction):
        y = torch.logsumexp(x, -1) - x.gather(-1, classes[:, None])[:, 0]
        p = x.data.copy_(torch.softmax(x, -1))
        ctx.save_for_backward(p, classes)
        ctx.reduction = reduction
        return {"mean": y.mean(), "sum": y.sum(), "none": y}[reduction]
