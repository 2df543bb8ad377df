"""Scaled dot-product attention.

    p  = softmax(q k' / sqrt(d))                     q, dq: (..., t, d)   k, dk: (..., s, d)
    y  = p v                                         v, dv: (..., s, e)   y, g:  (..., t, e)
    dv = p' g
    ds = p (g v' - sum(g y)) / sqrt(d)               p, ds: (..., t, s)
    dq = ds k
    dk = ds' q

The row term sum(g y) is that of the softmax: sum(p (g v')) over the keys is the same number.
One tensor given alone is query, key and value at once. Vaswani et al., 2017.
"""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import tokens


def reference(*inputs):
    return F.scaled_dot_product_attention(*(inputs * 3 if len(inputs) == 1 else inputs))


CROSS = normal("cross", (3, 4), (5, 4), (5, 2))
CASES = [
    CROSS,
    normal("square", (4, 4), (4, 4), (4, 4)),
    normal("batched", (2, 3, 4), (2, 5, 4), (2, 5, 3)),
    normal("self_attention", (4, 3)),
    normal("one_feature", (3, 1), (5, 1), (5, 2)),
    normal("one_token", (1, 4), (1, 4), (1, 4)),
    consumed(CROSS, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=tokens())
class Attention(Function):
    @classmethod
    def apply(cls, *inputs):
        q, k, v = inputs * 3 if len(inputs) == 1 else inputs
        return super().apply(q, k, v)

    @staticmethod
    def forward(ctx, q, k, v):
        scale = q.shape[-1] ** -0.5
        p = torch.softmax(scale * q @ k.mT, -1)
        y = p @ v
        ctx.save_for_backward(q, k, v, p, y)
        return y

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        dv = p.mT @ g
        dp = g @ v.mT
        row = (g * y).sum(-1, keepdim=True)
        ds = scale * p * (dp - row)
        dq = ds @ k
        dk = ds.mT @ q
        return dq, dk, dv


@bug(
    wrong="the attention weights are not transposed on the way back to the values",
    family="wrong-math",
    channel="value",
    shown_by=("square", "self_attention"),
    hidden_by="one_token",
)
class ValuesByUntransposedWeights(Attention):
    """Raises when queries and keys differ in number; in self-attention they never do."""

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        dv = p @ g
        dp = g @ v.mT
        row = (g * y).sum(-1, keepdim=True)
        ds = scale * p * (dp - row)
        dq = ds @ k
        dk = ds.mT @ q
        return dq, dk, dv


@bug(
    wrong="the gradient of the scores is not transposed on the way back to the keys",
    family="wrong-math",
    channel="value",
    shown_by=("square", "self_attention"),
    hidden_by="one_token",
)
class KeysByUntransposedScores(Attention):
    """The keys learn from the positions that they look at instead of those that look at them."""

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        dv = p.mT @ g
        dp = g @ v.mT
        row = (g * y).sum(-1, keepdim=True)
        ds = scale * p * (dp - row)
        dq = ds @ k
        dk = ds @ q
        return dq, dk, dv


@bug(
    wrong="the softmax's row term is dropped, so only the diagonal of its Jacobian is left",
    family="wrong-math",
    channel="value",
    shown_by=("cross", "square", "batched", "self_attention", "one_token"),
)
class DroppedRowTerm(Attention):
    """A single token attends to itself with weight 1, whatever q and k: dq should be exactly 0."""

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        dv = p.mT @ g
        dp = g @ v.mT
        ds = scale * p * dp
        dq = ds @ k
        dk = ds.mT @ q
        return dq, dk, dv


@bug(
    wrong="the gradients of query and key are returned in each other's place",
    family="api-contract",
    channel="value",
    shown_by="square",
    hidden_by=("self_attention", "one_token"),
)
class QueryAndKeySwapped(Attention):
    """Fed with one and the same tensor the two are added, and the order no longer matters."""

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        dv = p.mT @ g
        dp = g @ v.mT
        row = (g * y).sum(-1, keepdim=True)
        ds = scale * p * (dp - row)
        dq = ds @ k
        dk = ds.mT @ q
        return dk, dq, dv


@bug(
    wrong="the scale 1/sqrt(d) of the scores is missing from the backward pass",
    family="scaling",
    channel="value",
    shown_by=("cross", "square", "batched", "self_attention"),
    hidden_by=("one_feature", "one_token"),
)
class ScaleDropped(Attention):
    """sqrt(d) times too large for query and key alone; the values learn as they should."""

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        dv = p.mT @ g
        dp = g @ v.mT
        row = (g * y).sum(-1, keepdim=True)
        ds = p * (dp - row)
        dq = ds @ k
        dk = ds.mT @ q
        return dq, dk, dv


@bug(
    wrong="the query is saved after it was scaled, so dk carries the scale twice",
    family="scaling",
    channel="value",
    shown_by=("cross", "square", "batched", "self_attention"),
    hidden_by=("one_feature", "one_token"),
)
class ScaledQuerySaved(Attention):
    """Folding the scale into q is a common economy of the forward. dq is right, dk is too small."""

    @staticmethod
    def forward(ctx, q, k, v):
        q = q * q.shape[-1] ** -0.5
        p = torch.softmax(q @ k.mT, -1)
        y = p @ v
        ctx.save_for_backward(q, k, v, p, y)
        return y


@bug(
    wrong="the cotangent's memory is read with the strides of y, whatever its own strides are",
    family="layout-stride",
    channel="value",
    seen=(
        "https://github.com/Dao-AILab/flash-attention/issues/355",
        "https://github.com/pytorch/pytorch/pull/195210",
    ),
    shown_by="transposed",
    hidden_by=(
        "cross",
        "square",
        "batched",
        "self_attention",
        "one_feature",
        "one_token",
        "trained",
    ),
)
class CotangentReadAsPacked(Attention):
    """A kernel gets a pointer and assumes the layout. Right as long as y is consumed as it is;
    wrong as soon as the consumer transposes it. gradcheck feeds dense cotangents only."""

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, y = ctx.saved_tensors
        g = g.as_strided(y.shape, y.stride())
        scale = q.shape[-1] ** -0.5
        dv = p.mT @ g
        dp = g @ v.mT
        row = (g * y).sum(-1, keepdim=True)
        ds = scale * p * (dp - row)
        dq = ds @ k
        dk = ds.mT @ q
        return dq, dk, dv
