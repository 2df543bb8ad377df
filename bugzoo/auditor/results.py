"""Results of operations: their floating tensors and numbers found, replaced, weighed, compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

BENT = 1.37


def floats(result: Any) -> list[Tensor]:
    items = result if isinstance(result, tuple | list) else (result,)
    return [t for t in items if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]


def mapped(result: Any, replaced: list[Tensor]) -> Any:
    """`result` with its floating tensors replaced, in order."""
    if isinstance(result, Tensor):
        return replaced[0]
    queue = iter(replaced)
    items = [
        next(queue) if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex()) else t
        for t in result
    ]
    if type(result) in (tuple, list):
        return type(result)(items)
    return type(result)(items)  # torch.return_types take one iterable


def dot(outputs: Sequence[Any], cotangents: Sequence[Tensor | None]) -> float:
    total = 0.0
    for y, g in zip(outputs, cotangents, strict=False):
        if isinstance(y, Tensor) and not y.is_complex():
            y = y.detach().double()
            total += float((y if g is None else y * g.detach().double()).sum())
    return total


def bent(x: Any) -> Any:
    if isinstance(x, list):
        return [bent(v) for v in x]
    return x if isinstance(x, bool | int) else x * BENT


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if hasattr(a, "tolist"):
        return equal(a.tolist(), b.tolist())
    return bool(a == b) or (a != a and b != b)
