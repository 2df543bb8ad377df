"""Layer normalisation over the last axis, without scale and shift.

    y  = (x - mean(x)) / std(x)                      x, y, g, dx: (..., f)
    dx = (g - mean(g) - y * mean(g * y)) / std(x)

The two means are the gradient's paths through mean(x) and through std(x);
both run over the features of one row. Ba, Kiros & Hinton, 2016.
"""

from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden


def reference(x):
    return F.layer_norm(x, x.shape[-1:], eps=0.0)


ROWS = normal("rows", (4, 6))
CASES = [
    ROWS,
    normal("one_row", (1, 6)),
    normal("three_axes", (2, 3, 5)),
    normal("large_offset", (4, 6), shift=50.0),
    consumed(ROWS, "ones", "summed_loss"),
    consumed(ROWS, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=hidden())
class LayerNorm(Function):
    @staticmethod
    def forward(ctx, x):
        std = x.std(-1, correction=0, keepdim=True)
        y = (x - x.mean(-1, keepdim=True)) / std
        ctx.save_for_backward(y, std)
        return y

    @staticmethod
    def backward(ctx, g):
        y, std = ctx.saved_tensors
        mean_g = g.mean(-1, keepdim=True)
        mean_gy = (g * y).mean(-1, keepdim=True)
        return (g - mean_g - y * mean_gy) / std


@bug(
    wrong="mean(g) is taken over the whole batch, so rows leak into each other",
    family="wrong-math",
    channel="value",
    seen="https://github.com/flagos-ai/FlagGems/pull/59",
    shown_by=("rows", "three_axes", "large_offset", "transposed"),
    hidden_by=("one_row", "summed_loss"),
)
class BatchMean(LayerNorm):
    """With one row the two means are the same number; under a summed loss both are 1."""

    @staticmethod
    def backward(ctx, g):
        y, std = ctx.saved_tensors
        mean_g = g.mean()
        mean_gy = (g * y).mean(-1, keepdim=True)
        return (g - mean_g - y * mean_gy) / std


@bug(
    wrong="the gradient's path through std(x) is dropped, as if the scale were a constant",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "one_row", "three_axes", "large_offset"),
    hidden_by="summed_loss",
)
class DroppedVariancePath(LayerNorm):
    """Each row of dx still sums to zero, so a check of that invariant passes."""

    @staticmethod
    def backward(ctx, g):
        y, std = ctx.saved_tensors
        mean_g = g.mean(-1, keepdim=True)
        return (g - mean_g) / std


@bug(
    wrong="the means run over everything behind the first axis, not over the last axis alone",
    family="wrong-math",
    channel="value",
    seen="https://github.com/flagos-ai/FlagGems/issues/5392",
    shown_by="three_axes",
    hidden_by=("rows", "one_row", "summed_loss", "large_offset", "transposed", "trained"),
)
class TwoAxesAssumed(LayerNorm):
    """Right for a table of rows; wrong for (batch, sequence, features), where the tokens of a
    sequence leak into each other."""

    @staticmethod
    def backward(ctx, g):
        y, std = ctx.saved_tensors
        axes = tuple(range(1 - g.dim(), 0))
        mean_g = g.mean(axes, keepdim=True)
        mean_gy = (g * y).mean(axes, keepdim=True)
        return (g - mean_g - y * mean_gy) / std
