"""Does a second backward, or another call in between, give the same? Bit by bit, where promised.

Four questions: the same cotangent twice; another cotangent in between; is a gradient handed out
still intact after the next backward (no shared buffer); and two calls alive at once, whose
backwards run in the order of the forwards (no state on the class).
"""

import torch
from torch import Tensor

from bugzoo.oracle.probe import Probe, again, delivered
from bugzoo.oracle.witness import Witness


def examine(probe: Probe) -> Witness:
    """Compare repeated and interleaved backwards with single ones."""
    inputs = probe.inputs()
    if not probe.truth.deterministic:
        return _witness("", "the author promises no determinism")
    y = probe.outputs(inputs)
    g, h = probe.cotangents(y), probe.cotangents(y)
    first = delivered(y, inputs, _lend(g), retain_graph=True)
    kept = _copy(first)
    other = delivered(y, inputs, _lend(h), retain_graph=True)
    if not _same(first, kept):
        return _witness("a gradient handed out is overwritten by the next backward", "g, then h")
    if not _same(delivered(y, inputs, _lend(g), retain_graph=True), kept):
        return _witness("the second backward with the same cotangent differs", "g, h, g")
    fresh = again(inputs)
    if not _same(delivered(probe.outputs(fresh), fresh, _lend(h)), other):
        return _witness("h after g differs from h alone", "g, then h")

    mine, theirs = again(inputs), probe.inputs()
    y_mine = probe.outputs(mine)
    y_theirs = probe.outputs(theirs)
    if not _same(delivered(y_mine, mine, _lend(g)), kept):
        return _witness("another forward in between changes the backward", "two calls alive")
    delivered(y_theirs, theirs, probe.cotangents(y_theirs))
    return _witness("", "g, h, g; two calls alive")


def _witness(wrong: str, probe: str) -> Witness:
    return Witness("reentrancy", bool(wrong), probe, wrong or "repeats bit by bit")


def _lend(g: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Cotangents that may be spoiled: writing into them is the side_effect channel's matter."""
    return tuple(b.clone() if 0 not in b.stride() else b for b in g)


def _copy(grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if d is None else d.clone() for d in grads)


def _same(a: tuple[Tensor | None, ...], b: tuple[Tensor | None, ...]) -> bool:
    return all(
        (x is None and y is None)
        or (
            x is not None
            and y is not None
            and torch.equal(x.nan_to_num(nan=1e300), y.nan_to_num(nan=1e300))
        )
        for x, y in zip(a, b, strict=True)
    )
