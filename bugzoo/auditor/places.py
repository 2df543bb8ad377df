"""Which tensors an operation is given, what memory it writes into, and whether two tensors are the same."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from bugzoo.checkup.stops import in_place


def written(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], func: Any) -> list[Tensor]:
    """The tensors that an operation writes into, by torch's naming rule; [] for most."""
    out = kwargs.get("out")
    if out is not None:
        return [t for t in (out if isinstance(out, tuple | list) else (out,)) if t is not None]
    if not args:
        return []
    setter = name == "__set__" and getattr(func.__self__, "__name__", "") == "data"
    if not (setter or in_place(name)):
        return []
    first = args[0]
    if isinstance(first, Tensor):
        return [first]
    return [t for t in first if isinstance(t, Tensor)] if isinstance(first, list | tuple) else []


def holds(args: Iterable[Any], ids: Container[int]) -> bool:
    """Is one of these tensors among the arguments, or in a list or tuple of them?"""
    return any(
        id(a) in ids if isinstance(a, Tensor) else isinstance(a, list | tuple) and holds(a, ids)
        for a in args
    )


def place(t: Tensor) -> int:
    """Where the memory of `t` begins; views of one tensor share it. 0 where there is none."""
    if is_lazy(t) or t.layout != torch.strided:
        return 0
    return t.untyped_storage().data_ptr()


def same(a: Tensor, b: Tensor) -> bool:
    """Bit by bit, NaN equal to NaN."""
    if a.shape != b.shape:
        return False
    a, b = (t.to_dense() if t.layout != torch.strided else t for t in (a, b))
    return bool(torch.equal(a, b)) or bool(((a == b) | ((a != a) & (b != b))).all())
