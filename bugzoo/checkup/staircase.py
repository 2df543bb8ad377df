"""What can be told of a gradient by design: how it lies to the wide slope of its staircase.

    w = (f(x + h) - f(x - h)) / 2h         over several stairs; 0 where the forward is clipped

Nobody wants the derivative of a staircase. But a mask the wrong way round passes the gradient only where
the forward is constant; and a step size must hear from clipped outputs, q s with a fixed q, if it hears
from the others at all. Its scale is free: there are reasons to scale it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.direction import dot, randoms, size, slope
from bugzoo.checkup.judgement import cotangents
from bugzoo.checkup.target import Target, copies
from bugzoo.finding import Finding

WIDE = (0.4, 0.2)  # of the typical size of the input: two steps
SCALES = (1.0, 3.0, 0.4)  # inputs times this: some inside, some clipped
FEW = 2  # elements of each kind are wanted


def examine(target: Target, inputs: tuple[Any, ...], gen: Generator) -> list[Finding]:
    """For one output of the shape of one input that it follows in stairs, element by element."""
    for scale in SCALES:
        for slot, x in enumerate(inputs):
            if not isinstance(x, Tensor) or not x.requires_grad or not x.is_floating_point():
                continue
            made = copies(inputs)
            with torch.no_grad():
                made[slot].mul_(scale)
            y = target.plain(made)
            if len(y) != 1 or y[0].shape != x.shape or x.numel() < 2 * FEW:
                continue
            found = _at(target, made, slot, gen)
            if found:
                return [found]
    return []


def _at(target: Target, inputs: tuple[Any, ...], slot: int, gen: Generator) -> Finding | None:
    moves, still = _kinds(target, inputs, slot)
    if int(moves.sum()) < FEW or int(still.sum()) < FEW:
        return None
    x, y = inputs[slot], target.forward(inputs)
    g = cotangents(y, gen)
    leaves = target.leaves(inputs)
    number = next(n for n, (_, leaf) in enumerate(leaves) if leaf is x)
    inside, clipped = (
        tuple(torch.where(k, b, torch.zeros_like(b)) for b in g) for k in (moves, still)
    )
    dx_in = target.vjp(inputs, inside, y, retain_graph=True)
    dx_out = target.vjp(inputs, clipped, y)
    a, b = dx_in[number], dx_out[number]
    if a is not None and b is not None:
        passed = b.detach()[still] != 0
        if not bool((a.detach()[moves] != 0).any()) and bool(passed.all()):
            return Finding(
                "value", "the gradient passes only where the forward is constant", leaves[number][0],
                cause="the mask of a clip the wrong way round",
            )  # fmt: skip
    center = target.plain(inputs)
    for n, (name, leaf) in enumerate(leaves):
        heard, ours = dx_in[n], dx_out[n]
        if n == number or heard is None or not bool((heard != 0).any()):
            continue
        u: list[Tensor | None] = [None for _ in leaves]
        u[n] = randoms([leaf], gen)[0]
        near, far = (slope(target, inputs, u, clipped, center, k) for k in (1.0, 1e3))
        true, yours = near.value, dot([ours], [u[n]])
        clear = near.finite and far.finite and abs(true) > 1e3 * near.error + 1e-6
        if clear and abs(far.value - true) < 0.01 * abs(true) and yours * true <= 0:
            return Finding(
                "value", "clipped outputs give this input no gradient, or one of the wrong sign", name,
                yours, true, cause="there the forward follows it: the bound times the step",
            )  # fmt: skip
    return None


def _kinds(target: Target, inputs: tuple[Any, ...], slot: int) -> tuple[Tensor, Tensor]:
    """Elements of which the result moves over several stairs, and those where it is constant."""
    base = inputs[slot].detach().clone()
    wide = []
    for h in (size(base) * k for k in WIDE):
        sides = []
        for sign in (1, -1):
            made = copies(inputs)
            with torch.no_grad():
                made[slot].copy_(base + sign * h)
            sides.append(target.plain(made)[0])
        wide.append((sides[0] - sides[1]) / (2 * h))
    top = torch.maximum(wide[0].abs().max(), wide[1].abs().max())
    moves = (wide[0].abs() > 0.5 * top) & (wide[1].abs() > 0.5 * top)
    return moves, (wide[0] == 0) & (wide[1] == 0)
