"""Dropout whose mask comes from a seed, so that a recomputation meets the same mask.

y  = m x / 0.8                                   x, y, g, dx: any one shape
dx = m g / 0.8                                   m: 1 with probability 0.8, else 0
"""

import torch
from torch import Generator
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import hidden

KEEP = 0.8


def reference(x, seed):
    kept = torch.rand(x.shape, generator=Generator().manual_seed(seed)) < KEEP
    return torch.where(kept, x / KEEP, 0.0)


def rectified(x):
    x.clamp_(min=0)


PLAIN = normal("plain", (6, 5), extras=(7,))
CASES = [
    PLAIN,
    normal("three_axes", (2, 5, 4), extras=(11,)),
    changed(PLAIN, "rectified", rectified),
    normal("nothing_dropped", (1, 2), extras=(1,)),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=hidden(extras=(7,)))
class Dropout(Function):
    @staticmethod
    def forward(ctx, x, seed):
        gen = Generator().manual_seed(seed)
        kept = torch.rand(x.shape, generator=gen) < KEEP
        ctx.save_for_backward(kept)
        return x * kept / KEEP

    @staticmethod
    def backward(ctx, g):
        (kept,) = ctx.saved_tensors
        return g * kept / KEEP, None


@bug(
    wrong="the mask is forgotten: dropped elements get a gradient",
    family="wrong-math",
    channel="value",
    seen="https://github.com/ddbourgin/numpy-ml/issues/94",
    shown_by=("plain", "three_axes", "rectified", "transposed"),
    hidden_by="nothing_dropped",
)
class MaskForgotten(Dropout):
    """The scale is there, and on average the gradient is right: it learns, without the dropout."""

    @staticmethod
    def backward(ctx, g):
        return g / KEEP, None


@bug(
    wrong="the mask is inferred as y / x, and where x is 0 it is taken to be 1",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/kaldi-asr/kaldi/issues/3890",
    shown_by="rectified",
    hidden_by=("plain", "three_axes", "nothing_dropped", "transposed", "trained"),
)
class MaskInferred(Dropout):
    """One buffer less. Behind a rectifier half of the inputs are exactly 0."""

    @staticmethod
    def forward(ctx, x, seed):
        gen = Generator().manual_seed(seed)
        kept = torch.rand(x.shape, generator=gen) < KEEP
        y = x * kept / KEEP
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        kept = (y != 0) | (x == 0)
        return g * kept / KEEP, None


@bug(
    wrong="backward draws its mask anew, from a generator that has moved on",
    family="rng-recompute",
    channel="value",
    seen=(
        "https://github.com/allenai/OLMo-core/pull/828",
        "https://github.com/openai/guided-diffusion/issues/167",
    ),
    shown_by=("plain", "three_axes", "rectified", "transposed"),
    hidden_by="nothing_dropped",
)
class MaskDrawnAnew(Dropout):
    """The gradient of another network than the one that made the loss. The real ones were
    checkpoints that ran a forward again without the state of the generator."""

    @staticmethod
    def forward(ctx, x, seed):
        gen = Generator().manual_seed(seed)
        kept = torch.rand(x.shape, generator=gen) < KEEP
        ctx.gen = gen
        return x * kept / KEEP

    @staticmethod
    def backward(ctx, g):
        kept = torch.rand(g.shape, generator=ctx.gen) < KEEP
        return g * kept / KEEP, None
