"""A few steps of the untouched program: where its parameters were before them, and where they are after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from bugzoo.auditor.listener import Stop
from bugzoo.auditor.program import Program, seeded

MOST = 12  # steps of all optimizers together
Place = tuple[int, int]  # an optimizer, in the order of their first steps, and a parameter in it
Drive = Callable[[Callable[[], int]], None]


@dataclass
class Walk:
    """Parameters by place, as they are before the first step of their optimizer and after the last."""

    before: dict[Place, Tensor] = field(default_factory=dict)
    after: dict[Place, Tensor] = field(default_factory=dict)
    dtypes: set[torch.dtype] = field(default_factory=set)

    def apart(self, other: Walk) -> float:
        """How far the two have moved apart, as a part of the way: 0 for equal ways."""
        if self.after.keys() != other.after.keys():
            return float("inf")
        gap = way = 0.0
        for place, p in self.after.items():
            q = other.after[place]
            if p.shape != q.shape:
                return float("inf")
            gap += float((p - q).square().sum())
            way += float((p - self.before[place]).square().sum())
        return (gap / way) ** 0.5 if way else (float("inf") if gap else 0.0)


def walk(program: Program, steps: int | None, drive: Drive | None = None) -> Walk:
    """`go`, and where it led."""
    found = Walk()
    order: list[Any] = []

    def starts(optimizer: Any) -> None:
        if all(o is not optimizer for o in order):
            order.append(optimizer)
            found.dtypes |= {p.dtype for group in optimizer.param_groups for p in group["params"]}
            found.before.update(_places(order, optimizer))

    go(program, steps, drive, starts)
    for optimizer in order:
        found.after.update(_places(order, optimizer))
    return found


def go(
    program: Program,
    steps: int | None,
    drive: Drive | None = None,
    starts: Callable[[Any], None] = lambda optimizer: None,
) -> None:
    """Run until the optimizer that steps most often has made so many steps; None: until `drive` returns.

    `drive(count)` builds and trains; the program's own, where none is given. `starts` is called before
    each step.
    """
    seen: Counter[int] = Counter()

    def stepped(optimizer: Any, *_: Any) -> None:
        seen[id(optimizer)] += 1
        if steps is not None and (max(seen.values()) >= steps or seen.total() >= MOST):
            raise Stop

    handles = [
        register_optimizer_step_pre_hook(lambda optimizer, *_: starts(optimizer)),
        register_optimizer_step_post_hook(stepped),
    ]
    try:
        with seeded(program.seed), suppress(Stop):
            (drive or program.drive)(seen.total)
    finally:
        for handle in handles:
            handle.remove()
    program.builds += 1
    program.forwards += seen.total()
    program.backwards += seen.total()


def _places(order: list[Any], optimizer: Any) -> dict[Place, Tensor]:
    number = next(n for n, o in enumerate(order) if o is optimizer)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    return {(number, n): p.detach().to(torch.float64, copy=True) for n, p in enumerate(held)}
