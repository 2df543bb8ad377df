"""Kernels of torch that do not check their arguments: derived inputs would make them write past the heap.

torch 2.13 on a CPU: fused attention with keys and values of other sizes; CTC loss with a target that is
no class, or a length beyond its tensor. In the block the first takes its plain path, the second raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def guarded() -> Iterator[None]:
    ctc: Any = torch.ctc_loss

    @wraps(ctc)
    def checked(
        log_probs: Tensor,
        targets: Tensor,
        lengths: Any,
        target_lengths: Any,
        *rest: Any,
        **options: Any,
    ) -> Any:
        steps, classes = log_probs.shape[0], log_probs.shape[-1]
        rows = log_probs.shape[1] if log_probs.dim() == 3 else 1
        blank = rest[0] if rest and isinstance(rest[0], int) else options.get("blank", 0)
        lengths_of = [int(n) for n in torch.as_tensor(target_lengths).reshape(-1)]
        room = targets.shape[-1] if targets.dim() == 2 else targets.numel()
        most = max(lengths_of, default=0) if targets.dim() == 2 else sum(lengths_of)
        if targets.numel() and not 0 <= int(targets.min()) <= int(targets.max()) < classes:
            raise IndexError(f"ctc_loss: a target is no class from 0 to {classes - 1}")
        if most > room or any(int(n) > steps for n in torch.as_tensor(lengths).reshape(-1)):
            raise IndexError("ctc_loss: a length is beyond its tensor")
        if len(lengths_of) != rows or (targets.dim() == 2 and len(targets) != rows):
            raise IndexError(f"ctc_loss: targets or lengths are not of {rows} rows")
        if not 0 <= blank < classes or any(n < 0 for n in lengths_of):
            raise IndexError("ctc_loss: the blank is no class, or a length is negative")
        return ctc(log_probs, targets, lengths, target_lengths, *rest, **options)

    home: Any = torch
    home.ctc_loss = checked
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        home.ctc_loss = ctc
