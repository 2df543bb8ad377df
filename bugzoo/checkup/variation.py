"""One set of inputs under a name, and whether the forward takes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bugzoo.checkup.target import Rejected, Target, dense


@dataclass(frozen=True)
class Variation:
    """Inputs under a name; `special` are (leaf, element) pairs that lie on a possible kink."""

    name: str
    inputs: tuple[Any, ...]
    special: tuple[tuple[int, tuple[int, ...]], ...] = ()
    frozen: dict[int, Tensor] = field(default_factory=dict)
    doubtful: bool = False  # the author may never have meant such inputs: what it shows is a note
    large: bool = False  # takes longer than the rest
    finite: bool = False  # too far out for slopes: only asks whether the gradient is finite


def accepts(target: Target, inputs: tuple[Any, ...]) -> bool:
    """The forward takes these inputs and gives finite, differentiable numbers."""
    try:
        y = target.forward(inputs)
    except Rejected:
        return False
    return any(t.requires_grad for t in y) and all(
        t.numel() > 0 and bool(dense(t.detach()).isfinite().all()) for t in y
    )


def shapes_of(target: Target, inputs: tuple[Any, ...]) -> list[torch.Size] | None:
    try:
        return [y.shape for y in target.plain(inputs)]
    except Rejected:
        return None


def ascends(x: Tensor) -> bool:
    """Integers from 0 upwards, as the bounds of rows or the rows of a batch are."""
    return len(x) > 1 and bool(x[0] == 0) and bool((x[1:] >= x[:-1]).all()) and bool(x[-1] > 0)
