"""Outputs whose gradient cannot be meant as the derivative of the forward.

A staircase (round, sign, argmax) has the derivative 0 wherever it has one; the identity has 1, and
nobody writes a Function to copy its input. A gradient of their own is why such functions are written:
straight-through estimators, spikes, gradient reversal, clipping. It is noted, not blamed. Draws of a
gamma or Dirichlet distribution by rejection have torch's implicit gradient: the slope in distribution,
not of the one draw.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.graph import nodes
from bugzoo.checkup.target import Rejected, Target, copies, dense, put_back

POINTS = (1.0, 1.7, -0.6)  # the inputs times this
DRAWS = ("StandardGammaBackward", "SampleDirichletBackward")  # names of nodes
STEP = {torch.float64: 1e-7, torch.float32: 1e-4}


def find(target: Target, inputs: tuple[Any, ...], gen: Generator) -> dict[int, str]:
    """Output number -> 'staircase', 'identity' or 'implicit gradient of a draw'."""
    try:
        drawn = {n for n, y in enumerate(target.forward(inputs)) if _draws(y)}
        same = _identities(target, inputs, gen)
        steps = set().union(*(_stairs(target, inputs, n, gen) for n in _slots(inputs)))
    except Rejected:
        return {}
    kinds = dict.fromkeys(steps, "staircase") | dict.fromkeys(same, "identity")
    return kinds | dict.fromkeys(drawn, "implicit gradient of a draw")


def _draws(y: Tensor) -> bool:
    """Does a node of its graph draw by rejection?"""
    return any(n.name().startswith(DRAWS) for n in islice(nodes([y.grad_fn]), 1000))


def _slots(inputs: tuple[Any, ...]) -> list[int]:
    return [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]


def _identities(target: Target, inputs: tuple[Any, ...], gen: Generator) -> set[int]:
    """Outputs that equal an input bit by bit, and follow it whatever the other leaves do."""
    leaves = [x for _, x in target.leaves(inputs)]
    before = [x.detach().clone() for x in leaves]
    found: set[int] | None = None
    with put_back(leaves):
        for factor in POINTS:
            with torch.no_grad():
                for n, (x, old) in enumerate(zip(leaves, before, strict=True)):
                    x.copy_(old * (factor + 0.1 * n))
            y = target.plain(inputs)
            equal = {
                m
                for m, out in enumerate(y)
                for n in _slots(inputs)
                if out.shape == inputs[n].shape
                and torch.equal(dense(out), dense(inputs[n].detach()))
            }
            found = equal if found is None else found & equal
    return found or set()


def _stairs(target: Target, inputs: tuple[Any, ...], slot: int, gen: Generator) -> set[int]:
    """Outputs that a small move of the input leaves alone, wherever it starts, and a large one not."""
    step = STEP.get(inputs[slot].dtype)
    if step is None:
        return set()
    starts, still = [], None
    for factor in POINTS:
        base = _scaled(inputs, factor, slot)
        starts.append(target.plain(base))
        with torch.no_grad():
            x = base[slot]
            noise = torch.randn(x.shape, generator=gen, dtype=torch.float64).to(x)
            # An exact zero may lie on an edge: it stays.
            x += step * noise * (x != 0) * x.abs().amax() if x.numel() else 0.0
        near = target.plain(base)
        same = {m for m, (a, b) in enumerate(zip(starts[-1], near, strict=True)) if _same(a, b)}
        still = same if still is None else still & same
    return {m for m in still or () if any(not torch.equal(starts[0][m], s[m]) for s in starts[1:])}


def _same(a: Tensor, b: Tensor) -> bool:
    """All but a few elements, which the small move brought over an edge."""
    return a.shape == b.shape and bool((dense(a) != dense(b)).double().mean() <= 0.03)


def _scaled(inputs: tuple[Any, ...], factor: float, slot: int | None = None) -> tuple[Any, ...]:
    made = copies(inputs)
    with torch.no_grad():
        for n in _slots(made):
            if slot is None or n == slot:
                made[n].mul_(factor)
    return made
