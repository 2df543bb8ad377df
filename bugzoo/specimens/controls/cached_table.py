"""Sinusoidal positions added to a sequence; their table is cached by its size.

y_pi = x_pi + sin(p / 10000 ** (i / f))          x, y, g, dx: (..., t, f)
dx   = g
"""

from functools import lru_cache

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x):
    t, f = x.shape[-2:]
    frequency = 10000 ** (-torch.arange(f, dtype=x.dtype) / f)
    return x + torch.sin(torch.arange(t, dtype=x.dtype)[:, None] * frequency)


PLAIN = normal("plain", (5, 6))


@control(
    looks="a cache on the class holds tensors that no call lets go of",
    right="one table for each size, and nothing that grows with the number of calls",
    cases=[PLAIN, normal("batched", (2, 4, 6)), consumed(PLAIN, "expanded", "summed_loss")],
    reference=reference,
)
class CachedTable(Function):
    @staticmethod
    @lru_cache(maxsize=8)
    def table(t, f, dtype):
        frequency = 10000 ** (-torch.arange(f, dtype=dtype) / f)
        return torch.sin(torch.arange(t, dtype=dtype)[:, None] * frequency)

    @staticmethod
    def forward(ctx, x):
        return x + CachedTable.table(*x.shape[-2:], x.dtype)

    @staticmethod
    def backward(ctx, g):
        return g.clone()
