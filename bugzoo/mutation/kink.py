"""Is a difference of two gradients a matter of convention: a subgradient at a kink?

    left = (f(x) - f(x - h e)) / h,  right = (f(x + h e) - f(x)) / h,   f = <op(x), g>

At a tie or a kink the two differ, and every value between them is a subgradient along e.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from bugzoo.oracle.probe import Probe, again, delivered, leaves

STEP = 1e-6  # relative to max(1, |x|); one-sided differences are good to about as much
ROOM = 1e-4  # relative to the larger slope
KINK = 1e-3  # relative: slopes that differ by less are one slope


def difference(probe: Probe) -> Literal["none", "kink", "wrong"]:
    """Where the gradient of `probe.op` differs from the true one: nowhere, at kinks alone, elsewhere."""
    assert probe.truth.reference is not None
    inputs = probe.inputs()
    kept = again(inputs)
    y = probe.outputs(inputs)
    g = probe.cotangents(y)
    z = probe.references(kept)
    if len(y) != len(z):
        return "wrong"  # an output without a graph
    true = delivered(z, kept, g)
    got = delivered(y, inputs, g)
    found: Literal["none", "kink"] = "none"
    for slot, (x, ours, theirs) in enumerate(zip(leaves(inputs), got, true, strict=True)):
        ours, theirs = (x.new_zeros(x.shape) if d is None else d for d in (ours, theirs))
        if ours.shape != theirs.shape or not bool(ours.isfinite().all()):
            return "wrong"
        room = probe.case.rtol * max(float(ours.abs().max()), float(theirs.abs().max()))
        for at in ((ours - theirs).abs() > room).nonzero().tolist():
            found = "kink"
            if not _between(float(ours[tuple(at)]), *_slopes(probe, inputs, g, slot, tuple(at))):
                return "wrong"
    return found


def _between(value: float, left: float, right: float) -> bool:
    low, high = sorted((left, right))
    size = max(abs(low), abs(high))
    return high - low > KINK * size and low - ROOM * size <= value <= high + ROOM * size


def _slopes(
    probe: Probe, inputs: tuple[Any, ...], g: tuple[Tensor, ...], slot: int, at: tuple[int, ...]
) -> tuple[float, float]:
    """Left and right slope of <reference(x), g> along one element of one leaf."""

    def value(shift: float) -> float:
        moved = again(inputs)
        with torch.no_grad():
            leaves(moved)[slot][at] += shift
        z = probe.references(moved)
        return sum(float((a.detach() * b).sum()) for a, b in zip(z, g, strict=True))

    h = STEP * max(1.0, abs(float(leaves(inputs)[slot][at].detach())))
    middle = value(0.0)
    return (middle - value(-h)) / h, (value(h) - middle) / h
