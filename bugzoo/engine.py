"""A backward pass written without torch, bridged so that torch-level detectors can examine it.

y, pullback = Engine.run(*arrays)         arrays, y: NumPy float64
dx1, dx2, ... = pullback(g)               g: like y; one entry for each array, None for integers
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Pullback = Callable[[np.ndarray], tuple[np.ndarray | None, ...]]


class Engine:
    """Subclass and write `run`; `apply` then takes and returns torch tensors."""

    @classmethod
    def run(cls, *arrays: Any) -> tuple[np.ndarray, Pullback]:
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs: Any) -> Tensor:
        return _Bridge.apply(cls.run, *inputs)


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, *inputs):
        # Copies: an engine that kept views would not notice a tensor edited before its backward.
        arrays = [x.detach().numpy().copy() if isinstance(x, Tensor) else x for x in inputs]
        y, ctx.pullback = run(*arrays)
        return torch.from_numpy(np.array(y, dtype=np.float64))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        grads = ctx.pullback(g.detach().numpy())
        return None, *(d if d is None else torch.from_numpy(np.asarray(d)) for d in grads)
