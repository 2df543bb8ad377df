"""What `backward` returns, before the engine sums it to the input's shape, casts it or drops it."""

from typing import Any

import torch
from torch import Tensor

from bugzoo.model import Case, Truth
from bugzoo.oracle.probe import Probe, delivered


def differs(ours: Any, right: Any, truth: Truth, case: Case, seed: int) -> str:
    """In what the raw returns of two Functions differ, in words; '' where they are the same.

    Asked when the engine delivers the same gradients for both.
    """
    pairs = [returned(cls, truth, case, seed) for cls in (ours, right)]
    if len(pairs[0]) != len(pairs[1]):
        return f"backward ran {len(pairs[0])} times, expected {len(pairs[1])}"
    for mine, theirs in zip(*pairs):
        if len(mine) != len(theirs):
            return f"{len(mine)} gradients returned, expected {len(theirs)}"
        for n, (a, b) in enumerate(zip(mine, theirs)):
            if _kind(a) != _kind(b):
                return f"gradient {n} returned is {_kind(a)}, expected {_kind(b)}"
            if isinstance(a, Tensor) and not _close(a, b, case.rtol):
                return f"gradient {n} returned has other values, which nobody asks for"
    return ""


def returned(cls: Any, truth: Truth, case: Case, seed: int) -> list[tuple[Any, ...]]:
    """The tuple that each call of `cls.backward` returns in one pass."""
    if not issubclass(cls, torch.autograd.Function):
        return []
    seen: list[tuple[Any, ...]] = []

    class Recorded(cls):
        @staticmethod
        def backward(ctx, *g):
            out = cls.backward(ctx, *g)
            seen.append(out if isinstance(out, tuple) else (out,))
            return out

    probe = Probe(Recorded.apply, truth, case, torch.Generator().manual_seed(seed))
    inputs = probe.inputs()
    y = probe.outputs(inputs)
    delivered(y, inputs, probe.cotangents(y))
    return seen


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return str(value)
    shape = "x".join(map(str, value.shape)) or "scalar"
    return f"{shape} {str(value.dtype).removeprefix('torch.')}"


def _close(a: Tensor, b: Tensor, rtol: float) -> bool:
    if a.is_sparse or b.is_sparse or not a.is_floating_point():
        return True
    size = max((float(t.abs().nan_to_num().max()) for t in (a, b) if t.numel()), default=0.0)
    return bool(((a - b).abs().nan_to_num() <= max(rtol, 1e-12) * size).all())
