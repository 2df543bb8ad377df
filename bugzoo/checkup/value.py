"""Is the gradient the derivative? One random direction first; on suspicion confirm, then localise.

A suspicion is confirmed with another direction, another cotangent and another step; outputs that sit
on a kink are left out. What stays is a defect: the leaf, the element and both numbers are looked up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.direction import Slope, dot, moved, randoms, slope
from bugzoo.checkup.target import Target, dense
from bugzoo.finding import Finding, Note
from bugzoo.mismatch import compare

Grads = list[Tensor | None]


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


def examine(
    target: Target,
    inputs: tuple[Any, ...],
    gen: Generator,
    only: int | None = None,
    frozen: dict[int, Tensor] | None = None,
    stopped: bool = False,
) -> Seen:
    """Hold the backward at `inputs` against difference quotients of the forward.

    `only`: use this output alone, the others get no cotangent. `frozen`: for leaf number n, a mask
    of elements that must not move, because they lie on a kink. `stopped`: elements whose gradient
    is exactly 0 are so by intent.
    """
    leaves = target.leaves(inputs)
    y = target.forward(inputs)
    if not leaves or not y or not all(bool(t.detach().isfinite().all()) for t in map(dense, y)):
        return Seen()
    g = _chosen(cotangents(y, gen), only)
    u = _still(randoms([x for _, x in leaves], gen), frozen)
    try:
        dx = target.vjp(inputs, g, y)
    except Exception as error:
        return Seen([_raised(error)])
    broken = _not_finite(target, inputs, leaves, dx, g)
    if broken:
        return broken
    if stopped:
        frozen = {
            n: (frozen or {}).get(n, False) | (dense(d) == 0)
            if d is not None
            else torch.ones(x.shape, dtype=torch.bool)
            for n, (d, (_, x)) in enumerate(zip(dx, leaves, strict=True))
        }
        u = _still([v for v in u if v is not None], frozen)
    center = tuple(t.detach().clone() for t in y)
    first = slope(target, inputs, u, g, center)
    if not first.finite:
        return Seen()
    if not _suspicious(first, dx, u):
        return Seen()
    for shrink in (1.0, 0.1):
        g = _smooth(target, inputs, _chosen(cotangents(y, gen), only), gen, frozen)
        u = _still(randoms([x for _, x in leaves], gen), frozen)
        dx = target.vjp(inputs, g)
        again = slope(target, inputs, u, g, shrink=shrink)
        if not again.finite or not _suspicious(again, dx, u):
            return Seen()
        if again.kinked and _between(dot(dx, u), again):
            return Seen()
    return Seen([locate(target, inputs, g, dx, u, again)])


def at(
    target: Target,
    inputs: tuple[Any, ...],
    leaf: int,
    elements: Sequence[tuple[int, ...]],
    gen: Generator,
) -> Seen:
    """Special elements, each alone and all moved together: between one-sided slopes is convention."""
    leaves = target.leaves(inputs)
    name, x = leaves[leaf]
    y = target.forward(inputs)
    center = tuple(t.detach().clone() for t in y)
    g = cotangents(y, gen)
    try:
        dx = target.vjp(inputs, g, y)[leaf]
    except Exception as error:
        return Seen([_raised(error)])
    ours = dense(dx.detach()) if dx is not None else torch.zeros_like(x.detach())
    seen = Seen()
    groups = [[e] for e in elements[:3]] + ([list(elements)] if len(elements) > 1 else [])
    for group in groups:
        step = torch.zeros_like(x.detach())
        for element in group:
            step[element] = 1.0
        u: Grads = [step if n == leaf else None for n in range(len(leaves))]
        yours = sum(_number(ours[e]) for e in group)
        where = f"{name}{[list(e) for e in group]} = {_number(x.detach()[group[0]]):.6g}"
        if len(group) < len(elements) > 2 and not math.isnan(yours):
            continue  # one of three equal ones may be given any place by a sort: nothing bounds it
        _judge(seen, target, inputs, u, g, center, yours, where, x)
        if seen.findings:
            return seen
    return seen


def _judge(
    seen: Seen, target: Target, inputs: tuple, u: Grads, g: tuple, center: tuple, yours: float,
    where: str, x: Tensor,
) -> None:  # fmt: skip
    s = slope(target, inputs, u, g, center)
    if not (math.isfinite(s.right) or math.isfinite(s.left)):
        return
    infinite = _diverges(target, inputs, u, g, center)
    if math.isnan(yours):
        if infinite:
            seen.notes.append(
                Note("convention", f"gradient nan where the slope is infinite: {where}")
            )
        else:
            what = "the gradient is nan where the function is finite"
            seen.findings.append(
                Finding("value", what, where, cause="0/0 or inf times 0 in backward")
            )
    elif infinite or not s.finite:
        return
    elif s.kinked and _between(yours, s):
        seen.notes.append(
            Note("convention", f"a kink: {yours:.4g} of [{s.low:.4g}, {s.high:.4g}]: {where}")
        )
    elif abs(yours - s.value) > _tolerance(s, abs(yours), [x]):
        error = abs(yours - s.value) / max(abs(yours), abs(s.value), 1e-300)
        what = "the gradient is not the derivative at a special value"
        seen.findings.append(Finding("value", what, where, yours, s.value, error))


def locate(
    target: Target,
    inputs: tuple[Any, ...],
    g: tuple[Tensor | None, ...],
    dx: Grads,
    u: Grads,
    s: Slope,
) -> Finding:
    """Which leaf and which element is most wrong: all elements of a small leaf, bisection of a large one."""
    leaves = target.leaves(inputs)
    center = target.plain(inputs)
    worst, chosen = -1.0, 0
    for n in range(len(leaves)):
        alone: Grads = [d if m == n else None for m, d in enumerate(u)]
        gap = abs(slope(target, inputs, alone, g, center).value - dot(dx, alone))
        if gap > worst:
            worst, chosen = gap, n
    name, x = leaves[chosen]
    ours = dx[chosen]
    yours = dense(ours.detach()) if ours is not None else torch.zeros_like(x.detach())
    cause = ""
    if ours is None:
        cause = "autograd hands nothing to this leaf: the graph is cut, or backward returns None"
    if x.numel() <= 64:
        true = torch.zeros_like(x.detach())
        for element in _elements(x):
            true[element] = _coordinate(target, inputs, leaves, chosen, element, g, center)
        found = compare(yours, true, name)
        cause = cause or found.words.rpartition("; ")[2] * (found.words.count(";") > 1)
        gaps = (yours - true).abs().nan_to_num(0.0, 0.0, 0.0)
        element = tuple(int(i) for i in (gaps == gaps.max()).nonzero()[0]) if x.dim() else ()
        a, b = _number(yours[element]), _number(true[element])
        return Finding("value", "the gradient is not the derivative", f"{name}{list(element)}; "
                       f"{int((gaps > 1e-3 * gaps.max()).sum())} of {x.numel()} elements", a, b,
                       found.error, cause=cause)  # fmt: skip
    element = _bisect(target, inputs, leaves, chosen, yours, u, g, center)
    b = _coordinate(target, inputs, leaves, chosen, element, g, center)
    a = _number(yours[element])
    total = max(abs(s.value), abs(dot(dx, u)), 1e-300)
    return Finding(
        "value", "the gradient is not the derivative", f"{name}{list(element)}", a, b,
        abs(s.value - dot(dx, u)) / total, cause=cause,
    )  # fmt: skip


def _suspicious(s: Slope, dx: Grads, u: Grads) -> bool:
    parts = [(d.detach(), v) for d, v in zip(dx, u, strict=True) if d is not None and v is not None]
    norm = (
        sum((dense(d).abs().double() * v.abs().double()).square().sum().item() for d, v in parts)
        ** 0.5
    )
    moving = [v for v in u if v is not None]
    return abs(s.value - dot(dx, u)) > _tolerance(s, norm, moving)


def _tolerance(s: Slope, norm: float, moving: list[Tensor]) -> float:
    """30 times the estimated error, and what rounding leaves of the sum over all elements."""
    eps = max((torch.finfo(t.dtype).eps for t in moving), default=2e-16)
    return 30 * s.error + 20 * eps**0.5 * max(norm, abs(s.value)) + 1e-12


def _between(value: float, s: Slope) -> bool:
    margin = 0.01 * (s.high - s.low) + 30 * s.error
    return s.low - margin <= value <= s.high + margin


def _diverges(target: Target, inputs: tuple, u: Grads, g: tuple, center: tuple) -> bool:
    """The one-sided slopes grow as the step shrinks: the derivative is infinite."""
    wide, close = (slope(target, inputs, u, g, center, shrink) for shrink in (1.0, 1e-2))
    for a, b in ((wide.right, close.right), (wide.left, close.left)):
        if math.isfinite(a) and math.isfinite(b) and abs(b) > 3 * abs(a) + 1e-6:
            return True
    return False


def _smooth(
    target: Target, inputs: tuple, g: tuple, gen: Generator, frozen: dict[int, Tensor] | None
) -> tuple[Tensor | None, ...]:
    """The cotangents with zeros where an output bends within the step: a kink lies there."""
    leaves = target.leaves(inputs)
    u = _still(randoms([x for _, x in leaves], gen), frozen)
    narrow = any(x.dtype != torch.float64 and x.is_floating_point() for _, x in leaves)
    h = 1e-2 if narrow else 1e-5
    y, plus, minus = target.plain(inputs), moved(target, inputs, u, h), moved(target, inputs, u, -h)
    kept: list[Tensor | None] = []
    for b, mid, up, down in zip(g, y, plus, minus, strict=True):
        if b is None:
            kept.append(None)
            continue
        mid, up, down = map(dense, (mid, up, down))
        bend = (up - 2 * mid + down).abs()
        rise = (up - down).abs()
        kinked = bend > 0.02 * rise + 1e-9 * mid.abs()
        kept.append(b if bool(kinked.all()) else torch.where(kinked, torch.zeros_like(b), b))
    return tuple(kept)


def _not_finite(target: Target, inputs: tuple, leaves: list, dx: Grads, g: tuple) -> Seen | None:
    for n, (d, (name, x)) in enumerate(zip(dx, leaves, strict=True)):
        if d is None or bool(dense(d).isfinite().all()):
            continue
        d = dense(d)
        element = tuple(int(i) for i in (~d.isfinite()).nonzero()[0]) if d.dim() else ()
        u: Grads = [None for _ in leaves]
        step = torch.zeros_like(x.detach())
        step[element] = 1.0
        u[n] = step
        y = target.plain(inputs)
        s = slope(target, inputs, u, g, y)
        where = f"{name}{list(element)} = {_number(x.detach()[element]):.6g}"
        if not s.finite or _diverges(target, inputs, u, g, y):
            return Seen(
                [], [Note("convention", f"gradient {_number(d[element])}, slope infinite: {where}")]
            )
        count = int((~d.isfinite()).sum())
        return Seen([Finding(
            "value", f"the gradient is {_number(d[element])} in {count} of {d.numel()} elements where "
            "the function is finite", where, _number(d[element]), s.value,
            cause="0/0, or inf times 0, inside the backward",
        )])  # fmt: skip
    return None


def _coordinate(target: Target, inputs: tuple, leaves: list, leaf: int, element: tuple, g: tuple,
                center: tuple) -> float:  # fmt: skip
    u: Grads = [None for _ in leaves]
    step = torch.zeros_like(leaves[leaf][1].detach())
    step[element] = 1.0
    u[leaf] = step
    return slope(target, inputs, u, g, center).value


def _bisect(target: Target, inputs: tuple, leaves: list, leaf: int, yours: Tensor, u: Grads, g: tuple,
            center: tuple) -> tuple[int, ...]:  # fmt: skip
    """Follow the half with the larger disagreement down to one element."""
    direction = u[leaf]
    assert direction is not None
    flat = direction.reshape(-1)
    low, high = 0, flat.numel()
    while high - low > 1:
        mid = (low + high) // 2
        gaps = []
        for a, b in ((low, mid), (mid, high)):
            part = torch.zeros_like(flat)
            part[a:b] = flat[a:b]
            alone: Grads = [
                part.reshape(direction.shape) if m == leaf else None for m in range(len(u))
            ]
            gaps.append(
                abs(slope(target, inputs, alone, g, center).value - dot([yours], [alone[leaf]]))
            )
        low, high = (low, mid) if gaps[0] >= gaps[1] else (mid, high)
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(low), direction.shape))


def _raised(error: Exception) -> Finding:
    first = str(error).strip().partition("\n")[0]
    return Finding("contract", f"the backward raises {type(error).__name__}: {first}")


def _chosen(g: tuple[Tensor, ...], only: int | None) -> tuple[Tensor | None, ...]:
    return tuple(b if only is None or n == only else None for n, b in enumerate(g))


def _still(u: list[Tensor], frozen: dict[int, Tensor] | None) -> Grads:
    for n, mask in (frozen or {}).items():
        u[n] = torch.where(mask, torch.zeros_like(u[n]), u[n])
    return list(u)


def _elements(x: Tensor) -> list[tuple[int, ...]]:
    if x.dim() == 0:
        return [()]
    grid = torch.cartesian_prod(*map(torch.arange, x.shape)).reshape(-1, x.dim())
    return [tuple(int(i) for i in row) for row in grid]


def _number(t: Tensor) -> float:
    return t.real.item() if t.is_complex() else float(t.item())
