"""Layer normalisation with a weight and a bias for each feature.

    z  = (x - mean(x)) / std(x)                      x, y, z, g, dx: (..., f)
    y  = w z + b                                     w, b, dw, db:   (f,)
    dx = (wg - mean(wg) - z mean(wg z)) / std(x)
    dw = sum(g z)                                    over all rows
    db = sum(g)                                      over all rows

At the start of training w = 1 and b = 0, and much goes wrong unseen.
"""

from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import hidden


def reference(x, w, b):
    return F.layer_norm(x, x.shape[-1:], w, b, eps=0.0)


def untrained(x, w, b):
    w.fill_(1.0)
    b.fill_(0.0)


ROWS = normal("rows", (4, 6), (6,), (6,))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 5), (5,), (5,)),
    changed(ROWS, "untrained", untrained),
    consumed(ROWS, "ones", "summed_loss"),
]


@correct(cases=CASES, reference=reference, seat=hidden((32,), (32,)))
class LayerNormAffine(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        std = x.std(-1, correction=0, keepdim=True)
        z = (x - x.mean(-1, keepdim=True)) / std
        y = w * z + b
        ctx.save_for_backward(z, std, w)
        return y

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        db = g.flatten(0, -2).sum(-2)
        dw = (g * z).flatten(0, -2).sum(-2)
        dz = g * w
        mean_dz = dz.mean(-1, keepdim=True)
        mean_dzz = (dz * z).mean(-1, keepdim=True)
        dx = (dz - mean_dz - z * mean_dzz) / std
        return dx, dw, db


@bug(
    wrong="dx passes by the weight, as if the output were the normalised rows themselves",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "three_axes", "summed_loss"),
    hidden_by="untrained",
)
class WeightPassedBy(LayerNormAffine):
    """Right at the first step, when every weight is 1, and a little more wrong at each step after."""

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        db = g.flatten(0, -2).sum(-2)
        dw = (g * z).flatten(0, -2).sum(-2)
        dz = g
        mean_dz = dz.mean(-1, keepdim=True)
        mean_dzz = (dz * z).mean(-1, keepdim=True)
        dx = (dz - mean_dz - z * mean_dzz) / std
        return dx, dw, db


@bug(
    wrong="one name is used twice: the bias sums the cotangent after the weight went into it",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "three_axes", "summed_loss"),
    hidden_by="untrained",
)
class BiasAfterWeight(LayerNormAffine):
    """Every line is right by itself; two of them stand in the wrong order."""

    @staticmethod
    def backward(ctx, g):
        z, std, w = ctx.saved_tensors
        dw = (g * z).flatten(0, -2).sum(-2)
        dz = g * w
        db = dz.flatten(0, -2).sum(-2)
        mean_dz = dz.mean(-1, keepdim=True)
        mean_dzz = (dz * z).mean(-1, keepdim=True)
        dx = (dz - mean_dz - z * mean_dzz) / std
        return dx, dw, db


@bug(
    wrong="the output is saved in place of the normalised rows",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "three_axes", "summed_loss"),
    hidden_by="untrained",
)
class OutputSaved(LayerNormAffine):
    """One buffer less. While w = 1 and b = 0 the two are the same numbers."""

    @staticmethod
    def forward(ctx, x, w, b):
        std = x.std(-1, correction=0, keepdim=True)
        z = (x - x.mean(-1, keepdim=True)) / std
        y = w * z + b
        ctx.save_for_backward(y, std, w)
        return y
