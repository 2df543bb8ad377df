"""Which leaf and which element is most wrong: all elements of a small leaf, bisection of a large one.

An element that lies on a kink, and whose gradient lies between its one-sided slopes, is not wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bugzoo.checkup.direction import Slope, dot, slope
from bugzoo.checkup.judgement import Grads, between, number
from bugzoo.checkup.target import Target, dense
from bugzoo.finding import Finding
from bugzoo.mismatch import compare

NEAR = 1e-2  # of the largest: difference quotients of single elements in float32


def locate(
    target: Target,
    inputs: tuple[Any, ...],
    g: tuple[Tensor | None, ...],
    dx: Grads,
    u: Grads,
    s: Slope,
) -> tuple[Finding | None, int]:
    """The finding, None where all lies at kinks, and the number of its leaf."""
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
        true, kinks = torch.zeros_like(x.detach()), 0
        for element in _elements(x):
            b, kink = _coordinate(target, inputs, leaves, chosen, element, g, center, yours)
            true[element] = b  # type: ignore[assignment]
            kinks += kink
        found = compare(yours, true, name)
        if kinks and found.error <= NEAR:
            return None, chosen
        cause = cause or found.words.rpartition("; ")[2] * (found.words.count(";") > 1)
        gaps = (yours - true).abs().nan_to_num(0.0, 0.0, 0.0)
        element = tuple(int(i) for i in (gaps == gaps.max()).nonzero()[0]) if x.dim() else ()
        a, b = number(yours[element]), number(true[element])
        return Finding("value", "the gradient is not the derivative", f"{name}{list(element)}; "
                       f"{int((gaps > 1e-3 * gaps.max()).sum())} of {x.numel()} elements", a, b,
                       found.error, cause=cause), chosen  # fmt: skip
    element = _bisect(target, inputs, leaves, chosen, yours, u, g, center)
    true_there, kink = _coordinate(target, inputs, leaves, chosen, element, g, center, yours)
    if kink:
        return None, chosen
    a, b = number(yours[element]), true_there.real
    total = max(abs(s.value), abs(dot(dx, u)), 1e-300)
    return Finding(
        "value", "the gradient is not the derivative", f"{name}{list(element)}", a, b,
        abs(s.value - dot(dx, u)) / total, cause=cause,
    ), chosen  # fmt: skip


def _coordinate(target: Target, inputs: tuple, leaves: list, leaf: int, element: tuple, g: tuple,
                center: tuple, yours: Tensor) -> tuple[complex, bool]:  # fmt: skip
    """The derivative by one element, of a complex one by both its parts; at a kink what is given, and True."""
    u: Grads = [None for _ in leaves]
    step = torch.zeros_like(leaves[leaf][1].detach())
    u[leaf] = step
    step[element] = 1.0
    s = slope(target, inputs, u, g, center)
    real, mine = s.value, yours[element].item()
    if not step.is_complex():
        kink = s.kinked and mine != 0 and between(mine, s)
        return (mine, True) if kink else (real, False)
    step[element] = 1j  # type: ignore[assignment]
    return real + 1j * slope(target, inputs, u, g, center).value, False


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


def _elements(x: Tensor) -> list[tuple[int, ...]]:
    if x.dim() == 0:
        return [()]
    grid = torch.cartesian_prod(*map(torch.arange, x.shape)).reshape(-1, x.dim())
    return [tuple(int(i) for i in row) for row in grid]
