"""Is the update the same whatever the loss scale? Asked of programs that have a GradScaler.

    scale = S      against      scale = S / 4        powers of two: the same to the last bit in float32

Scale, backward, unscale, step: the scale cancels. It does not where something between the first and
the third sees the gradients: a clip, a penalty, noise, a loss that is sent backward without it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

from bugzoo.auditor.program import Program
from bugzoo.auditor.walk import Walk, walk
from bugzoo.checkup.patching import patched
from bugzoo.errors import named
from bugzoo.finding import Finding, Note

STEPS = 2
SHARE = 0.25
ROOM = 1e-5  # of the way
ROOM_HALF = 1e-2  # half precision loses digits at one scale that it has at another


def used() -> bool:
    """Is there a GradScaler that is switched on?"""
    return any(
        isinstance(thing, torch.amp.GradScaler) and thing.is_enabled() for thing in gc.get_objects()
    )


def examine(program: Program) -> Iterator[Finding | Note]:
    """One finding where a quarter of the scale gives another update."""
    try:
        with _autocasts() as dtypes:
            (plain, calm), (smaller, calm_too) = _walked(program, 1.0), _walked(program, SHARE)
        half = torch.float16 in dtypes | plain.dtypes
        if not (calm and calm_too and plain.before):
            return  # a step was skipped, as it should: the two are not comparable
        gap = plain.apart(smaller)
        if gap <= (ROOM_HALF if half else ROOM) or _walked(program, 1.0)[0].apart(plain):
            return
    except Exception as error:
        yield Note("skipped", f"the loss scale: {named(error)}")
        return
    yield Finding(
        "trajectory", "the update depends on the loss scale",
        f"with a quarter of it {STEPS} steps lead elsewhere, {gap:.3g} of the way apart", step=1,
        cause="between scale() and unscale_() gradients are multiplied: what clips, penalises or adds "
        "to them belongs after unscale_(), and every loss that is sent backward through scale()",
    )  # fmt: skip


def _walked(program: Program, share: float) -> tuple[Walk, bool]:
    """A walk with this share of the scale, and whether no scaler has changed its own meanwhile."""
    made: list[tuple[Any, float]] = []
    with _shared(share, made):
        way = walk(program, STEPS)
    return way, all(scaler.get_scale() == start for scaler, start in made)


@contextmanager
def _autocasts() -> Iterator[set[torch.dtype]]:
    """The types that autocast is entered with in the block."""
    enter: Any = torch.autocast.__enter__
    seen: set[torch.dtype] = set()

    @wraps(enter)
    def entered(cast: Any) -> Any:
        seen.add(cast.fast_dtype)
        return enter(cast)

    with patched(torch.autocast, "__enter__", entered):
        yield seen


@contextmanager
def _shared(share: float, made: list[tuple[Any, float]]) -> Iterator[None]:
    """GradScalers made in the block start with this share of their scale."""
    init: Any = torch.amp.GradScaler.__init__

    @wraps(init)
    def smaller(scaler: Any, *args: Any, **kwargs: Any) -> None:
        init(scaler, *args, **kwargs)
        if scaler.is_enabled():
            scaler._init_scale *= share
            made.append((scaler, scaler.get_scale()))

    with patched(torch.amp.GradScaler, "__init__", smaller):
        yield
