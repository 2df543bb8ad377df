"""How large a parameter's values are, and random directions to move it along."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normal(shape: Sequence[int], dtype: torch.dtype, gen: torch.Generator) -> Tensor:
    """Normal numbers with the digits of float32: such ones are drawn five times faster."""
    return torch.randn(tuple(shape), generator=gen).to(dtype)


def typical(p: Tensor) -> float:
    """The root mean square of the values, 0.1 where they are all zero."""
    norm = float(torch.linalg.vector_norm(p.detach(), dtype=torch.float64))
    return norm / p.numel() ** 0.5 if norm > 0 else 0.1
