"""Dropout with a fresh mask at every call.

    y  = m x / 0.8                                   x, y, g, dx: any one shape
    dx = m g / 0.8                                   m: 1 with probability 0.8, else 0

The mask comes from torch's own generator; the oracle gives the reference the same state.
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal

KEEP = 0.8


def reference(x):
    kept = torch.rand(x.shape) < KEEP
    return torch.where(kept, x / KEEP, 0.0)


PLAIN = normal("plain", (6, 5))


@control(
    looks="two calls with the same input differ, and differences of the forward are noise",
    right="forward and backward of one call use one mask",
    cases=[PLAIN, normal("three_axes", (2, 5, 4)), consumed(PLAIN, "transposed")],
    reference=reference,
    deterministic=False,
)
class UnseededDropout(Function):
    @staticmethod
    def forward(ctx, x):
        kept = torch.rand(x.shape) < KEEP
        ctx.save_for_backward(kept)
        return x * kept / KEEP

    @staticmethod
    def backward(ctx, g):
        (kept,) = ctx.saved_tensors
        return g * kept / KEEP
