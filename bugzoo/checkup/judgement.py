"""When a number is wrong: the threshold that follows the noise, and what a kink allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from bugzoo.checkup import replay
from bugzoo.checkup.direction import Slope, dot, slope
from bugzoo.checkup.target import Target, dense
from bugzoo.errors import named
from bugzoo.finding import Finding, Note

Grads = list[Tensor | None]
JUMP = 30.0  # growth of a slope over two decades of steps: 10 for a root, 100 for a jump


@dataclass
class Seen:
    """What one examination brought."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def cotangents(y: tuple[Tensor, ...], gen: Generator) -> tuple[Tensor, ...]:
    """Normal, both signs, one for each output, in the output's dtype."""
    made = []
    for t in y:
        drawn = torch.randn(t.shape, generator=gen, dtype=torch.float64)
        if t.is_complex():
            drawn = torch.complex(drawn, torch.randn(t.shape, generator=gen, dtype=torch.float64))
        made.append(drawn.to(t.dtype).to(t.device))
    return tuple(made)


def raised(error: Exception, **words: str) -> Finding:
    return Finding("contract", f"the backward raises {named(error)}", **words)  # type: ignore[arg-type]


def forgivable(target: Target, inputs: tuple, growth: tuple[float, float]) -> bool:
    """NaN where no number is right: infinite slopes on every side where the function is defined."""
    return min(growth) > 3 and not guarded(target, inputs, growth)


def guarded(target: Target, inputs: tuple, growth: tuple[float, float]) -> bool:
    """A jump is no infinite slope.

    A finite value at a jump was put there by the forward of a Function; then its backward must know
    the place too.
    """
    known = [g for g in growth if math.isfinite(g)]
    return bool(known) and max(known) > JUMP and bool(replay.names(target, inputs))


def suspicious(s: Slope, dx: Grads, u: Grads) -> bool:
    parts = [(d.detach(), v) for d, v in zip(dx, u, strict=True) if d is not None and v is not None]
    norm = (
        sum((dense(d).abs().double() * v.abs().double()).square().sum().item() for d, v in parts)
        ** 0.5
    )
    moving = [v for v in u if v is not None]
    return abs(s.value - dot(dx, u)) > tolerance(s, norm, moving)


def tolerance(s: Slope, norm: float, moving: list[Tensor]) -> float:
    """30 times the estimated error, and what rounding leaves of the sum over all elements."""
    eps = max((torch.finfo(t.dtype).eps for t in moving), default=2e-16)
    return 30 * s.error + 20 * eps**0.5 * max(norm, abs(s.value)) + 1e-12


def between(value: float, s: Slope) -> bool:
    margin = 0.01 * (s.high - s.low) + 30 * s.error
    return s.low - margin <= value <= s.high + margin


def growth_of(
    target: Target, inputs: tuple, u: Grads, g: tuple, center: tuple
) -> tuple[float, float]:
    """How much the right and the left slope grow when the step is a hundredth.

    About 1 where the slope is finite, 10 like a root at 0, 100 at a jump; inf where the function is
    not defined on that side.
    """
    wide, close = (slope(target, inputs, u, g, center, shrink) for shrink in (1.0, 1e-2))

    def side(a: float, b: float) -> float:
        if not (math.isfinite(a) and math.isfinite(b)):
            return math.inf
        return abs(b) / (abs(a) + 1e-6) if abs(b) > 1e-6 else 0.0

    return side(wide.right, close.right), side(wide.left, close.left)


def number(t: Tensor) -> float:
    return t.real.item() if t.is_complex() else float(t.item())
