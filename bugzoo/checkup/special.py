"""Special elements, zeros and ties: between the one-sided slopes everything is a convention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.direction import Slope, slope
from bugzoo.checkup.judgement import (
    Grads,
    Seen,
    between,
    cotangents,
    forgivable,
    growth_of,
    number,
    raised,
    tolerance,
)  # fmt: skip
from bugzoo.checkup.rough import approximate, inexact
from bugzoo.checkup.target import Target, dense
from bugzoo.finding import Finding, Note


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
    used = any(t.requires_grad for t in y)
    g = tuple(
        b if t.requires_grad or not used else None
        for b, t in zip(cotangents(y, gen), y, strict=True)
    )
    try:
        dx = target.vjp(inputs, g, y)[leaf]
    except Exception as error:
        return Seen([raised(error)])
    ours = dense(dx.detach()) if dx is not None else torch.zeros_like(x.detach())
    seen = Seen()
    groups = [[e] for e in elements[:3]] + ([list(elements)] if len(elements) > 1 else [])
    for group in groups:
        step = torch.zeros_like(x.detach())
        for element in group:
            step[element] = 1.0
        u: Grads = [step if n == leaf else None for n in range(len(leaves))]
        yours = sum(number(ours[e]) for e in group)
        which = [list(e) for e in group] if len(group) < 4 else f", {len(group)} elements"
        where = f"{name}{which} = {number(x.detach()[group[0]]):.6g}"
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
    growth = growth_of(target, inputs, u, g, center)
    if math.isnan(yours):
        if not s.finite or forgivable(target, inputs, growth):
            seen.notes.append(
                Note("convention", f"gradient nan where the slope is infinite: {where}")
            )
        else:
            what = "the gradient is nan where the function is finite"
            seen.findings.append(
                Finding("value", what, where, cause="0/0 or inf times 0 in backward")
            )
    elif max(growth) > 3 or not s.finite:
        return
    elif s.kinked and between(yours, s) and _curved(target, inputs, u, g, center, s):
        pass
    elif s.kinked and between(yours, s):
        seen.notes.append(
            Note("convention", f"a kink: {yours:.4g} of [{s.low:.4g}, {s.high:.4g}]: {where}")
        )
    elif abs(yours - s.value) > tolerance(s, abs(yours), [x]):
        error = abs(yours - s.value) / max(abs(yours), abs(s.value), 1e-300)
        what = "the gradient is not the derivative at a special value"
        found = Finding("value", what, where, yours, s.value, error)
        rough = inexact(target, inputs, g, u, yours, s) or approximate(target, inputs, found)
        if rough:
            seen.notes.append(rough)
        else:
            seen.findings.append(found)


def _curved(target: Target, inputs: tuple, u: Grads, g: tuple, center: tuple, s: Slope) -> bool:
    """Do the one-sided slopes part with the step? At a kink they are apart however small it is."""
    wide = slope(target, inputs, u, g, center, 3.0)
    return abs(wide.right - wide.left) > 2 * abs(s.right - s.left)
