"""What one iteration of a run did, so that it can be played again: losses, steps, results, numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class Astray(BaseException):
    """The program played again does not do what it did when it was recorded."""


@dataclass
class Loss:
    """One backward of the recorded iteration. `got`: what it gave, by number of the parameter."""

    line: str
    value: float
    cotangents: tuple[Tensor | None, ...]
    got: dict[int, Tensor]
    about: frozenset[int] | None  # parameters asked for by name; None for all
    counted: bool
    grads: list[Tensor | None] = field(default_factory=list)  # .grad afterwards, of its leaves
    held: dict[int, Tensor] = field(default_factory=dict)  # and of the other parameters
    results: tuple[Tensor | None, ...] = ()
    rng: Tensor | None = None
    dtype: torch.dtype = torch.float64


@dataclass
class Tape:
    """What the recorded iteration did, in order."""

    events: list[tuple[str, Any]] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    deltas: list[dict[int, Tensor]] = field(default_factory=list)  # of each step
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    dtypes: list[torch.dtype] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)  # typical values of the parameters
    jitter: list[Tensor] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)  # lines where a float left the graph
    inner: int = 0  # gradients taken without a graph
    frozen: dict[int, set[int]] = field(
        default_factory=dict
    )  # rows that get no gradient by contract
