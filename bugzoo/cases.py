"""Shared draws: how the inputs of a case are made. Fresh leaves, float64 unless the dtype is the point.

A draw is a function `gen -> tuple of tensors`. `normal("tall", (7, 3), (3, 2))` is the usual case;
the other makers change values or layout, never both.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.model import Case

Shape = tuple[int, ...]


def leaf(values: Tensor) -> Tensor:
    """`values` as a leaf that requires grad, its strides kept."""
    return values.detach().requires_grad_()


def normal(
    name: str,
    *shapes: Shape,
    scale: float = 1.0,
    shift: float = 0.0,
    dtype: torch.dtype = torch.float64,
    **case: Any,
) -> Case:
    """Independent normal inputs, one for each shape: `shift + scale * N(0, 1)`."""

    def draw(gen: Generator) -> tuple[Tensor, ...]:
        drawn = (torch.randn(s, generator=gen, dtype=torch.float64) for s in shapes)
        return tuple(leaf((shift + scale * x).to(dtype)) for x in drawn)

    return Case(name, draw, **case)


def transposed(name: str, *shapes: Shape, **case: Any) -> Case:
    """Normal inputs whose last two axes are swapped in memory; vectors stay as they are."""

    def draw(gen: Generator) -> tuple[Tensor, ...]:
        def one(shape: Shape) -> Tensor:
            if len(shape) < 2:
                return torch.randn(shape, generator=gen, dtype=torch.float64)
            swapped = (*shape[:-2], shape[-1], shape[-2])
            return torch.randn(swapped, generator=gen, dtype=torch.float64).mT

        return tuple(leaf(one(shape)) for shape in shapes)

    return Case(name, draw, **case)


def changed(case: Case, name: str, edit: Callable[..., Any], **other: Any) -> Case:
    """`case` under a new name, its tensors edited in place by `edit(*tensors)`: zeros, ties, bounds."""

    def draw(gen: Generator) -> tuple[Tensor, ...]:
        tensors = case.draw(gen)
        with torch.no_grad():
            edit(*tensors)
        return tensors

    return replace(case, name=name, draw=draw, **other)


def consumed(case: Case, cotangent: str, name: str = "") -> Case:
    """The inputs of `case`, consumed so that the cotangent has another layout or value."""
    return replace(case, name=name or cotangent, cotangent=cotangent)
