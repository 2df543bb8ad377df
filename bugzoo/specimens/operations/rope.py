"""Rotary position embedding: each pair of features is turned by an angle that grows with position.

    y_a = x_a cos - x_b sin                          x, y, g, dx: (..., t, f), f even
    y_b = x_a sin + x_b cos                          cos, sin:    (t, f / 2)
    dx  = g turned back by the same angles

a and b are the first and the second half of the features; pair i at position p has the angle
p / 10000 ** (2 i / f). Su et al., 2021.
"""

from functools import cache

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden


def reference(x):
    pairs = torch.complex(*x.chunk(2, -1))
    position = torch.arange(x.shape[-2], dtype=x.dtype)[:, None]
    angle = position / 10000 ** torch.linspace(0, 1, pairs.shape[-1] + 1, dtype=x.dtype)[:-1]
    turned = pairs * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], -1)


PLAIN = normal("plain", (5, 6))
CASES = [
    PLAIN,
    normal("batched", (2, 4, 6)),
    normal("one_pair", (5, 2)),
    normal("first_position", (1, 6)),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=hidden())
class Rope(Function):
    @staticmethod
    def angles(x):
        t, f = x.shape[-2:]
        step = 10000 ** (-2 * torch.arange(f // 2, dtype=x.dtype) / f)
        return torch.arange(t, dtype=x.dtype)[:, None] * step

    @staticmethod
    def forward(ctx, x):
        a, b = x.chunk(2, -1)
        angle = Rope.angles(x)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    @staticmethod
    def backward(ctx, g):
        a, b = g.chunk(2, -1)
        angle = Rope.angles(g)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([a * cos + b * sin, b * cos - a * sin], -1)


@bug(
    wrong="the cotangent is turned forward once more instead of back",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "batched", "one_pair", "transposed"),
    hidden_by="first_position",
)
class TurnedForward(Rope):
    """A rotation's Jacobian where its transpose belongs. Every norm is right: of each pair, of each
    row, of the whole gradient."""

    @staticmethod
    def backward(ctx, g):
        a, b = g.chunk(2, -1)
        angle = Rope.angles(g)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


@bug(
    wrong="backward pairs neighbours, forward pairs the two halves",
    family="layout-stride",
    channel="value",
    shown_by=("plain", "batched", "transposed"),
    hidden_by=("one_pair", "first_position"),
)
class NeighboursPaired(Rope):
    """Both layouts are in use, and each is right where forward and backward agree on it."""

    @staticmethod
    def backward(ctx, g):
        a, b = g[..., 0::2], g[..., 1::2]
        angle = Rope.angles(g)
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([a * cos + b * sin, b * cos - a * sin], -1).flatten(-2)


@bug(
    wrong="the table of angles is cached under the tensor itself, which is never seen again",
    family="memory-retention",
    channel="memory",
    seen="https://github.com/pytorch/pytorch/pull/112301",
    shown_by=("plain", "batched", "one_pair", "first_position"),
)
class CachedByTensor(Rope):
    """A tensor's hash is its identity: the cache never hits, and keeps every cotangent alive.
    The key should have been the shape. The real one was the cache of a sparse product."""

    @staticmethod
    @cache
    def angles(x):
        t, f = x.shape[-2:]
        step = 10000 ** (-2 * torch.arange(f // 2, dtype=x.dtype) / f)
        return torch.arange(t, dtype=x.dtype)[:, None] * step
