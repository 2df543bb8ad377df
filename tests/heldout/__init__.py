"""Operations outside the catalog: each built twice, right and wrong, with inputs as one writes them.

The errors are re-created from public trackers and from what fused kernels and private layers get
wrong. The inputs are those of a unit test in a hurry: not chosen to show the error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Pair:
    """`build(True)` is the wrong operation, `build(False)` its correct twin."""

    name: str
    build: Callable[[bool], Callable[..., Any]]
    inputs: Any
    declare: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lookalike:
    """Right code that looks wrong; `build()` gives the operation."""

    name: str
    build: Callable[[], Callable[..., Any]]
    inputs: Any
    declare: tuple[str, ...] = ()


PAIRS: dict[str, Pair] = {}
LOOKALIKES: dict[str, Lookalike] = {}


def pair(inputs, declare=()):
    """Marks `build(wrong)`."""

    def mark(build):
        assert build.__name__ not in PAIRS, build.__name__
        PAIRS[build.__name__] = Pair(build.__name__, build, inputs, declare)
        return build

    return mark


def lookalike(inputs, declare=()):
    """Marks `build()`."""

    def mark(build):
        assert build.__name__ not in LOOKALIKES, build.__name__
        LOOKALIKES[build.__name__] = Lookalike(build.__name__, build, inputs, declare)
        return build

    return mark


def randn(*shapes, dtype=torch.float32):
    """A maker as most people write it: seeds torch, returns normal tensors."""

    def make(seed):
        torch.manual_seed(seed)
        return tuple(torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)

    return make


def doubles(*shapes):
    return randn(*shapes, dtype=torch.float64)


def everything():
    """(PAIRS, LOOKALIKES), all files read."""
    from heldout import (  # noqa: F401
        activations,
        algebra,
        attention,
        calls,
        convolutions,
        graphs,
        indexing,
        kinks,
        losses,
        norms,
        protocol,
        recurrences,
        surroundings,
        varied,
    )

    return PAIRS, LOOKALIKES
