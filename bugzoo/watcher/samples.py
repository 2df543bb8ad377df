"""A few elements stand for a tensor: the same ones each time, copied at once, read later together.

    s(t) = t[i_1], ..., t[i_k]           k <= 32, spread over the memory; s is linear in t

Linear, so that what a backward added is s(after) - s(before), and a clip is a common factor. Copies
stay on their device until `read`: one transfer a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COUNT = 32
Handle = tuple[int, int]  # first and last + 1 in the list of all numbers read


def pick(t: Tensor) -> Tensor:
    """A view of up to COUNT elements, in the order of memory where that is dense."""
    t = t.detach()
    n = t.numel()
    k = min(COUNT, n)
    stride = (
        max(1, n // k - (n > 2 * k)) if k else 1
    )  # odd, so that no column of a matrix is hit twice
    if t.is_contiguous() or dense(t):
        return t.as_strided((k,), (stride,), t.storage_offset())
    return t.reshape(-1)[: k * stride : stride]


def dense(t: Tensor) -> bool:
    return bool(torch.ops.aten.is_non_overlapping_and_dense(t))


class Samples:
    """`add` copies tensors and gives handles; `read` brings all of them over; `clear` starts anew."""

    def __init__(self) -> None:
        self._chunks: list[Tensor] = []
        self._size = 0
        self._numbers: list[float] = []

    def add(self, views: Sequence[Tensor]) -> list[Handle]:
        """Copies of one-dimensional views, in as few calls as their devices and types allow."""
        handles: list[Handle] = []
        start = 0
        for end in range(1, len(views) + 1):
            if end == len(views) or _kind(views[end]) != _kind(views[start]):
                self._chunks.append(torch.cat(list(views[start:end])))
                start = end
        for v in views:
            handles.append((self._size, self._size + v.numel()))
            self._size += v.numel()
        return handles

    def keep(self, made: Tensor) -> Handle:
        """A one-dimensional tensor that nobody else will write into: no copy is made."""
        self._chunks.append(made)
        self._size += made.numel()
        return self._size - made.numel(), self._size

    def hold(self, known: Sequence[list[float]]) -> list[Handle]:
        """Numbers from before, under new handles. Only right after `clear`."""
        handles = []
        for numbers in known:
            handles.append((self._size, self._size + len(numbers)))
            self._size += len(numbers)
            self._numbers += numbers
        return handles

    def read(self) -> None:
        """All copies become numbers: one transfer for each device and type."""
        kinds: dict[object, list[int]] = {}
        for n, chunk in enumerate(self._chunks):
            kinds.setdefault(_kind(chunk), []).append(n)
        parts: list[list[float]] = [[]] * len(self._chunks)
        for where in kinds.values():
            joined = torch.cat([self._chunks[n] for n in where])
            if joined.is_complex():
                joined = joined.abs()
            flat = joined.double().tolist() if joined.device.type == "cpu" else joined.tolist()
            at = 0
            for n in where:
                parts[n] = flat[at : at + self._chunks[n].numel()]
                at += self._chunks[n].numel()
        self._numbers += [x for part in parts for x in part]
        self._chunks.clear()

    def __getitem__(self, handle: Handle) -> list[float]:
        return self._numbers[handle[0] : handle[1]]

    def clear(self) -> None:
        self._chunks.clear()
        self._numbers.clear()
        self._size = 0


def _kind(t: Tensor) -> tuple[torch.device, torch.dtype]:
    return t.device, t.dtype


def compare(before: list[float], now: list[float], eps: float) -> tuple[str, float]:
    """What was done to a sample: ('same', 1), ('zero', 0), ('scaled', factor) or ('other', 0).

    'unsure' where the sample was zero and says nothing.
    """
    if len(before) != len(now):
        return "other", 0.0
    if before == now:
        return ("same", 1.0) if any(before) else ("unsure", 1.0)
    if not any(now):
        return "zero", 0.0
    square = sum(b * b for b in before)
    if not square:
        return "other", 0.0
    factor = sum(b * n for b, n in zip(before, now)) / square
    most = max(abs(n) for n in now)
    off = max(abs(n - factor * b) for b, n in zip(before, now))
    return ("scaled", factor) if off <= 8 * eps * most else ("other", 0.0)
