"""The derivative of the gradient, where a Function claims to have one, or on request.

    <d/dx dx(x; g), v> along u   against   (<dx(x + h u; g), v> - <dx(x - h u; g), v>) / 2h

A backward that raises when it is differentiated, or is once_differentiable, claims nothing: a note.
One that merely saves intermediates was written for first order, as most are: a note with the numbers.
One that brings a Function of its own into the second graph claims it: a defect there is a finding.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.direction import dot, randoms
from bugzoo.checkup.graph import nodes
from bugzoo.checkup.judgement import Seen, cotangents
from bugzoo.checkup.target import Target, copies, dense
from bugzoo.errors import named
from bugzoo.finding import Finding, Note

STEPS = (1e-4, 3e-5)


def examine(target: Target, inputs: tuple[Any, ...], gen: Generator, asked: bool) -> Seen:
    """About 6 forwards and 7 backwards, on inputs in float64."""
    y = target.forward(inputs)
    own = _functions([t.grad_fn for t in y])
    if not own and not asked:
        return Seen()  # torch's own operations
    if not asked and any(map(_once, own)):
        return Seen([], [Note("second_order", "first order only, and marked once_differentiable")])
    g = tuple(b.requires_grad_(False) for b in cotangents(y, gen))
    try:
        dx = target.vjp(inputs, g, y, create_graph=True)
        second = _functions([d.grad_fn for d in dx if d is not None])
        claims = asked or bool(second - own)
        v = [torch.zeros(()) if d is None else _weights(d, gen) for d in dx]
        ours = _differentiated(target, inputs, dx, v)
    except Exception as error:
        said = f"first order only: differentiating the backward raises {named(error)}"
        return Seen([], [Note("second_order", said)])
    for shrink in (1.0, 0.3):
        u = randoms([x for _, x in target.leaves(inputs)], gen)
        wide, close = (_slope(target, inputs, u, g, v, h * shrink) for h in STEPS)
        got = dot(ours, u)
        scale = _norm(ours, u)
        if abs(got - close) <= 30 * abs(wide - close) + 1e-5 * max(scale, abs(close)) + 1e-9:
            return Seen()
    what = "the derivative of the gradient is wrong"
    if claims:
        gap = abs(got - close) / max(abs(got), abs(close))
        cause = "the backward is differentiated: a Function in it, or what it saved, is wrong or cut off"
        return Seen([Finding("second_order", what, "along a random direction", got, close, gap,
                             variation="backward differentiated", cause=cause)])  # fmt: skip
    said = f"{what} ({got:.4g}, true {close:.4g}): mark the backward once_differentiable"
    return Seen([], [Note("second_order", said)])


def _differentiated(target: Target, inputs: tuple, dx: list, v: list) -> list[Tensor | None]:
    pairs = [(d, w) for d, w in zip(dx, v, strict=True) if d is not None and d.requires_grad]
    if not pairs:
        return [None for _ in dx]  # a gradient that is constant, or claims to be
    target.backwards += 1
    leaves = [x for _, x in target.leaves(inputs)]
    outs, weights = zip(*pairs, strict=True)
    return list(torch.autograd.grad(outs, leaves, weights, allow_unused=True))


def _slope(target: Target, inputs: tuple, u: list, g: tuple, v: list, h: float) -> float:
    sides = []
    for sign in (1, -1):
        moved = copies(inputs)
        leaves = [x for _, x in target.leaves(moved)]
        old = [x.detach().clone() for x in leaves]
        with torch.no_grad():
            for x, d in zip(leaves, u, strict=True):
                x += sign * h * d
        sides.append(dot(target.vjp(moved, g), v))
        with torch.no_grad():
            for x, before in zip(leaves, old, strict=True):
                x.copy_(before)  # a parameter is shared by all copies
    return (sides[0] - sides[1]) / (2 * h)


def _weights(d: Tensor, gen: Generator) -> Tensor:
    return cotangents((dense(d.detach()),), gen)[0]


def _norm(grads: list, u: list) -> float:
    return sum(
        (dense(d).abs().double() * v.abs().double()).square().sum().item()
        for d, v in zip(grads, u, strict=True)
        if d is not None
    ) ** 0.5  # fmt: skip


def _once(cls: type) -> bool:
    """Is the backward of this Function wrapped by torch's once_differentiable?"""
    code = getattr(cls.backward, "__code__", None)  # type: ignore[attr-defined]
    return code is not None and code.co_qualname.startswith("once_differentiable.")


def _functions(roots: list[Any]) -> set[type]:
    """The custom Functions whose nodes a graph holds."""
    kinds = {getattr(type(n), "_forward_cls", None) for n in islice(nodes(roots), 5000)}
    return {k for k in kinds if k is not None and not k.__module__.startswith("torch.")}
