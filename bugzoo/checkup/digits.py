"""Does a float64 backward work in float64? One in float32 is right to seven digits, and a staircase.

    s(h) = (dx(x + h u) - dx(x)) / h            the same for h = 1e-5 and 1e-10 where dx is smooth

A step of 1e-10 is lost in a float32 number or moves it by 600 such steps. The forward is asked the same
question first: where it is a staircase too, the function works in float32, and may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.direction import randoms
from bugzoo.checkup.judgement import cotangents
from bugzoo.checkup.target import Target, copies, dense, put_back
from bugzoo.finding import Finding

At = Callable[[], Sequence[Tensor | None]]

ASIDE, FAR, NEAR = 1e-3, 1e-5, 1e-10
BESIDE = 3e-10  # a second small step: a function that is merely fast is linear there
LEAVES = 4  # that are moved, one after the other
CLEAR = (
    1e3  # roundings, of the result or of what it was before it cancelled, that a step must be worth
)


def examine(target: Target, inputs: tuple[Any, ...], gen: Generator) -> list[Finding]:
    """A finding where the backward is coarser than the forward, at inputs in float64."""
    mine = copies(inputs)
    leaves = target.leaves(mine)
    if any(x.dtype != torch.float64 or x.layout != torch.strided for _, x in leaves):
        return []
    with put_back(x for _, x in leaves):  # parameters among them are the user's own
        with torch.no_grad():  # off the kinks on which inputs may lie: zeros, ties
            for (_, x), u in zip(leaves, randoms([x for _, x in leaves], gen), strict=True):
                x.add_(u, alpha=ASIDE)
        return _beside(target, mine, leaves, gen)


def _beside(
    target: Target, mine: tuple[Any, ...], leaves: list[tuple[str, Tensor]], gen: Generator
) -> list[Finding]:
    y = target.forward(mine)
    if any(t.dtype != torch.float64 for t in y):
        return []
    g = cotangents(y, gen)
    dx = target.vjp(mine, g, y)
    center = [t.detach().clone() for t in y]
    for name, x in leaves[:LEAVES]:
        if not bool((x != 0).any()):
            continue

        def coarse(base: Sequence[Tensor | None], at: At, x: Tensor = x) -> bool:
            return _coarse(
                base, at, x, randoms([x], gen)[0], target.largest / float(x.detach().abs().max())
            )

        def backward() -> list[Tensor | None]:
            return target.vjp(mine, g)

        if (
            coarse(dx, backward)
            and not coarse(center, lambda: target.plain(mine))
            and coarse(dx, backward)
        ):
            return [Finding(
                "value", "the gradient of a float64 function has the digits of float32", name,
                cause=f"it does not follow a step of {NEAR:g} in {name}, and the forward does: a float() "
                "or a float32 buffer in the backward",
            )]  # fmt: skip
    return []


def _coarse(base: Sequence[Tensor | None], at: At, x: Tensor, u: Tensor, steep: float) -> bool:
    """Do most of the numbers that follow x at a large step not follow it at a small one?"""
    far, near, beside = (_stepped(at, x, u, h) for h in (FAR, NEAR, BESIDE))
    seen = bad = 0
    for b, f, n, m in zip(base, far, near, beside, strict=True):
        if b is None or f is None or n is None or m is None or b.shape != f.shape or not b.numel():
            continue
        b, f, n, m = map(dense, (b, f, n, m))
        slope, close = (f - b) / FAR, (n - b) / NEAR
        size = max(float(b.abs().max()), steep)
        clear = slope.abs() * NEAR > CLEAR * torch.finfo(torch.float64).eps * size
        straight = (n != b) & ((m - b - BESIDE / NEAR * (n - b)).abs() < 0.2 * (m - b).abs())
        seen += int(clear.sum())
        bad += int((clear & ~straight & ((close - slope).abs() > 0.5 * slope.abs())).sum())
    return bad > 0.5 * seen > 0


def _stepped(at: At, x: Tensor, u: Tensor, h: float) -> list[Tensor | None]:
    with put_back([x]):
        with torch.no_grad():
            x.add_(u, alpha=h)
        return [None if t is None else t.detach().clone() for t in at()]
