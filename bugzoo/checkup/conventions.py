"""Whether a finding is one: what no documentation promises is a convention."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from bugzoo.checkup.target import Target, copies
from bugzoo.finding import Finding


def overwritten(target: Target, inputs: tuple[Any, ...], finding: Finding) -> bool:
    """Several writes to one place: one wins, the others are not seen, and may get a gradient.

    So it is when the element in question shares its index with another one that the result follows.
    """
    place = re.match(r"input (\d+)\[([\d, ]*)\]", finding.where)
    if finding.true != 0 or not finding.yours or not place:
        return False
    slot = int(place[1])
    element = tuple(int(i) for i in place[2].split(",") if i.strip())
    x = inputs[slot]
    for index in inputs:
        if not isinstance(index, Tensor) or index.dtype not in (torch.int32, torch.int64):
            continue
        axes = index.dim()
        if not axes or axes > x.dim() or index.shape != x.shape[:axes]:
            continue
        here = element[:axes]
        if any(i >= size for i, size in zip(here, index.shape, strict=True)):
            continue
        for other in (index == index[here]).nonzero().tolist():
            if tuple(other) != here and _seen(target, inputs, slot, (*other, *element[axes:])):
                return True
    return False


def _seen(target: Target, inputs: tuple[Any, ...], slot: int, element: tuple[int, ...]) -> bool:
    """The result follows this element."""
    before = target.plain(inputs)
    made = copies(inputs)
    with torch.no_grad():
        made[slot][element] += 0.5
    return any(not torch.equal(a, b) for a, b in zip(before, target.plain(made), strict=True))
