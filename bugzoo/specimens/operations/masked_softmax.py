"""Softmax over the allowed elements of each row; the others get 0.

    y  = exp(x - s) where allowed, else 0            x, y, g, dx, allowed: (n, f)
    s  = log(sum(exp(x))) over the allowed           s: (n, 1)
    dx = y (g - sum(g y))

Backward recomputes y from s, as a memory-saving kernel does.
"""

import torch
from torch import Generator
from torch.autograd import Function

from bugzoo import Case, bug, correct
from bugzoo.cases import consumed, leaf


def reference(x, allowed):
    return torch.softmax(x.masked_fill(~allowed, float("-inf")), -1)


def causal(gen: Generator):
    x = torch.randn(5, 5, generator=gen, dtype=torch.float64)
    return leaf(x), torch.ones(5, 5, dtype=torch.bool).tril()


def all_allowed(gen: Generator):
    x, allowed = causal(gen)
    return x, torch.ones_like(allowed)


def huge_outside(gen: Generator):
    x, allowed = causal(gen)
    return leaf(torch.where(allowed, x.detach(), 1000.0)), allowed


PLAIN = Case("causal", causal)
CASES = [
    PLAIN,
    Case("all_allowed", all_allowed),
    Case("huge_outside", huge_outside),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=reference)
class MaskedSoftmax(Function):
    @staticmethod
    def forward(ctx, x, allowed):
        s = torch.logsumexp(x.masked_fill(~allowed, float("-inf")), -1, keepdim=True)
        ctx.save_for_backward(x, s, allowed)
        return torch.where(allowed, torch.exp(x - s), 0.0)

    @staticmethod
    def backward(ctx, g):
        x, s, allowed = ctx.saved_tensors
        y = torch.where(allowed, torch.exp(x - s), 0.0)
        row = (g * y).sum(-1, keepdim=True)
        return y * (g - row), None


@bug(
    wrong="the recomputed weights are masked by a product, and infinity times 0 is NaN",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/153799",
    shown_by="huge_outside",
    hidden_by=("causal", "all_allowed", "transposed"),
)
class MaskedByProduct(MaskedSoftmax):
    """The sum knows nothing of the elements outside the mask, so exp(x - s) may overflow there:
    padding that was never written is enough. The real cause was partly inferred from the thread."""

    @staticmethod
    def backward(ctx, g):
        x, s, allowed = ctx.saved_tensors
        y = torch.exp(x - s) * allowed
        row = (g * y).sum(-1, keepdim=True)
        return y * (g - row), None


@bug(
    wrong="the row term takes in the elements outside the mask",
    family="masking-boundary",
    channel="value",
    shown_by=("causal", "transposed"),
    hidden_by="all_allowed",
)
class MaskAfterRowTerm(MaskedSoftmax):
    """The gradient is zero outside, as it should be, and yet what lies there leaks into the rest."""

    @staticmethod
    def backward(ctx, g):
        x, s, allowed = ctx.saved_tensors
        y = torch.exp(x - s)
        row = (g * y).sum(-1, keepdim=True)
        return torch.where(allowed, y * (g - row), 0.0), None
