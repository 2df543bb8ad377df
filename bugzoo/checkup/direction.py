"""A directional derivative without the backward, with an estimate of its own error.

    D(h) = sum g * (f(x + h u) - f(x - h u)) / 2h          u, g: random; h: two steps
    error ~ |D(h) - D(h')| + rounding of f / h

The threshold of every value check follows this estimate: no tolerance is set by hand, so that
float32, steep functions and large offsets raise no alarm by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.target import Target, dense, put_back

STEPS = {torch.float64: (1e-5, 1e-6), torch.float32: (1e-2, 3e-3)}
NARROW = (5e-2, 2e-2)  # half and bfloat16


@dataclass(frozen=True)
class Slope:
    """A derivative along a direction: its value, the estimated error, both one-sided slopes.

    `low`, `high`: what any convention at a kink may give, each output element for itself.
    `kinked`: the two one-sided slopes differ by more than rounding and curvature explain.
    """

    value: float
    error: float
    right: float
    left: float
    low: float = 0.0
    high: float = 0.0
    finite: bool = True

    @property
    def kinked(self) -> bool:
        return (
            abs(self.right - self.left)
            > 1e-3 * max(abs(self.right), abs(self.left)) + 10 * self.error
        )


def dot(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> float:
    """Real inner product over pairs of tensors, in float64; None counts as zeros."""
    total = 0.0
    for s, t in zip(a, b, strict=True):
        if s is not None and t is not None:
            s, t = dense(s.detach()), dense(t.detach())
            wide = torch.complex128 if s.is_complex() or t.is_complex() else torch.float64
            total += (s.to(wide).conj() * t.to(wide)).sum().real.item()
    return total


def randoms(tensors: Sequence[Tensor], gen: Generator) -> list[Tensor]:
    """A normal direction for each tensor, scaled to its typical size where that is below one."""
    made = []
    for x in tensors:
        drawn = normal(x, gen)
        if symmetric(x):
            drawn = drawn + drawn.mT.conj()
        made.append((drawn * size(x)).to(x.dtype).to(x.device))
    return made


def normal(x: Tensor, gen: Generator) -> Tensor:
    """Normal numbers in the shape of x, in float64, or complex where x is."""
    drawn = torch.randn(x.shape, generator=gen, dtype=torch.float64)
    if x.is_complex():
        drawn = torch.complex(drawn, torch.randn(x.shape, generator=gen, dtype=torch.float64))
    return drawn


def symmetric(x: Tensor) -> bool:
    """A symmetric matrix stays one: what reads a triangle of it has its gradient defined so."""
    square = (
        x.layout == torch.strided
        and x.dim() >= 2
        and x.shape[-1] == x.shape[-2] > 1
        and x.numel() > 0
    )
    return square and bool(torch.equal(x.detach(), x.detach().mT.conj()))


def size(x: Tensor) -> float:
    """A step of h times this is small beside the values: their root mean square, at most 1."""
    values = dense(x.detach()).abs().double()  # of complex numbers the modulus
    values = values[values.isfinite() & (values > 0)]
    return min(1.0, values.square().mean().sqrt().item()) if values.numel() else 1.0


def moved(
    target: Target, inputs: tuple[Any, ...], u: Sequence[Tensor | None], h: float
) -> tuple[Tensor, ...]:
    """f(x + h u): the leaves are changed in place for one forward and put back bit by bit."""
    wrt = [x for _, x in target.leaves(inputs)]
    with put_back(wrt):
        with torch.no_grad():
            for x, d in zip(wrt, u, strict=True):
                if d is not None:
                    x += (h * d).to(x.dtype)
        return target.plain(inputs)


def slope(
    target: Target,
    inputs: tuple[Any, ...],
    u: Sequence[Tensor | None],
    g: Sequence[Tensor | None],
    center: tuple[Tensor, ...] | None = None,
    shrink: float = 1.0,
) -> Slope:
    """The derivative of <f(x), g> along `u`: 4 forwards, and one more without `center`."""
    y0 = center if center is not None else target.plain(inputs)
    dtypes = {x.dtype for (_, x), d in zip(target.leaves(inputs), u, strict=True) if d is not None}
    dtypes |= {y.dtype for y in y0}
    narrow = {t for t in dtypes if t in (torch.float16, torch.bfloat16)}
    single = {t for t in dtypes if t in (torch.float32, torch.complex64)}
    steps = NARROW if narrow else STEPS[torch.float32 if single else torch.float64]
    eps = max((torch.finfo(t).eps for t in dtypes), default=2e-16)

    found = []
    rounding = 0.0
    for h in (s * shrink for s in steps):
        plus, minus = moved(target, inputs, u, h), moved(target, inputs, u, -h)
        if [y.shape for y in plus] != [y.shape for y in y0]:
            return Slope(0.0, 0.0, 0.0, 0.0, finite=False)
        sides = _sides(plus, y0, minus, g, h)
        magnitude = sum(
            (dense(y).abs().double() * dense(b).abs().double()).square().sum().item()
            for y, b in zip(y0, g, strict=True)
            if b is not None
        )
        rounding = eps * magnitude**0.5 / h
        found.append(sides)
    (far_right, far_left, _, _), (right, left, low, high) = found
    value, wide = (right + left) / 2, (far_right + far_left) / 2
    finite = math.isfinite(wide) and math.isfinite(value)
    return Slope(value, abs(value - wide) + rounding, right, left, low, high, finite)


def _sides(
    plus: tuple[Tensor, ...],
    center: tuple[Tensor, ...],
    minus: tuple[Tensor, ...],
    g: Sequence[Tensor | None],
    h: float,
) -> tuple[float, float, float, float]:
    """Right and left slope of <f, g>, and the sums of the smaller and larger of both by element."""
    sums = [0.0, 0.0, 0.0, 0.0]
    for up, mid, down, weight in zip(plus, center, minus, g, strict=True):
        if weight is not None:
            w = _wide(weight).conj()
            right = ((_wide(up) - _wide(mid)) * w).real / h
            left = ((_wide(mid) - _wide(down)) * w).real / h
            parts = (right, left, torch.minimum(right, left), torch.maximum(right, left))
            sums = [total + part.sum().item() for total, part in zip(sums, parts, strict=True)]
    return sums[0], sums[1], sums[2], sums[3]


def _wide(t: Tensor) -> Tensor:
    t = dense(t.detach())
    return t.to(torch.complex128 if t.is_complex() else torch.float64)
