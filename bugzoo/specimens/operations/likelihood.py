"""Negative log-likelihood of given log-probabilities; `logits` are normalised first.

    y  = -mean(x[i, class_i])                        x, dx: (n, c)   y, g: scalar
    dx = -g / n where c is the class of the row, else 0

x is taken as it is: whether its rows are normalised is the business of whoever made it.
"""

import torch
from torch import Generator
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Case, bug, correct
from bugzoo.cases import leaf
from bugzoo.seats import loss


def reference(x, classes, kind):
    return F.nll_loss(F.log_softmax(x, -1) if kind == "logits" else x, classes)


def logits(gen: Generator):
    x = torch.randn(4, 5, generator=gen, dtype=torch.float64)
    return leaf(x), torch.randint(5, (4,), generator=gen)


def log_probabilities(gen: Generator):
    x, classes = logits(gen)
    return leaf(x.log_softmax(-1)), classes


def mixed(gen: Generator):
    x, classes = logits(gen)
    return leaf(torch.logaddexp(x.log_softmax(-1), x.new_tensor(-3.0))), classes


CASES = [
    Case("log_probabilities", log_probabilities, extras=("log_probabilities",)),
    Case("mixed_probabilities", mixed, extras=("log_probabilities",)),
    Case("behind_log_softmax", logits, extras=("logits",)),
    Case("plain_loss", logits, "ones", extras=("logits",)),
]


@correct(
    cases=CASES,
    reference=reference,
    seat=loss(log_probabilities=True, extras=("log_probabilities",)),
)
class Likelihood(Function):
    @classmethod
    def apply(cls, x, classes, kind):
        return super().apply(x.log_softmax(-1) if kind == "logits" else x, classes)

    @staticmethod
    def forward(ctx, x, classes):
        ctx.save_for_backward(x, classes)
        return -x.gather(-1, classes[:, None]).mean()

    @staticmethod
    def backward(ctx, g):
        x, classes = ctx.saved_tensors
        dx = -F.one_hot(classes, x.shape[-1]).to(x.dtype)
        return g * dx / len(x), None


@bug(
    wrong="it returns the gradient for the logits although its input is the log-probabilities",
    family="wrong-math",
    channel="value",
    seen=(
        "https://github.com/pytorch/pytorch/issues/52241",
        "https://github.com/pytorch/pytorch/issues/127608",
    ),
    shown_by=("log_probabilities", "mixed_probabilities"),
    hidden_by=("behind_log_softmax", "plain_loss", "trained"),
)
class LogitsGradient(Likelihood):
    """Log-softmax projects, and projecting twice changes nothing: straight behind it the answer is
    right. Anything in between, a mask or an interpolation, gets a gradient that is not its own."""

    @staticmethod
    def backward(ctx, g):
        x, classes = ctx.saved_tensors
        dx = x.exp() - F.one_hot(classes, x.shape[-1])
        return g * dx / len(x), None
