"""Gaussian error linear unit, twice differentiable.

    y  = x P,  P = (1 + erf(x / sqrt(2))) / 2        x, y, g, dx: any one shape
    dx = g (P + x p),  p = exp(-x x / 2) / sqrt(2 pi)

Hendrycks & Gimpel, 2016.
"""

import math

import torch
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden

PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    normal("wide", (4, 5), scale=3.0),
    normal("far_out", (4, 5), scale=0.5, shift=15.0),
    consumed(PLAIN, "ones", "summed_loss"),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=F.gelu, twice=True, seat=hidden())
class Gelu(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        big = (1 + torch.erf(x / math.sqrt(2))) / 2
        small = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        slope = big + x * small
        return g * slope


@bug(
    wrong="the derivative is that of the tanh approximation, the forward is exact",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "wide", "summed_loss", "transposed"),
    hidden_by="far_out",
)
class SlopeOfTheApproximation(Gelu):
    """Never more than a thousandth off, which is what many a tolerance allows."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        c = math.sqrt(2 / math.pi)
        t = torch.tanh(c * (x + 0.044715 * x**3))
        inner = c * (1 + 3 * 0.044715 * x * x)
        slope = (1 + t + x * (1 - t * t) * inner) / 2
        return g * slope


@bug(
    wrong="the slope is computed in forward and saved, a constant to the second derivative",
    family="higher-order",
    channel="second_order",
    seen=(
        "https://github.com/pytorch/pytorch/issues/58509",
        "https://github.com/pytorch/pytorch/issues/76185",
    ),
    shown_by=("plain", "wide", "summed_loss", "transposed"),
    hidden_by=("far_out", "trained"),
)
class SlopeSaved(Gelu):
    """Work is saved and every gradient is right. A gradient penalty or a Hessian gets 0 for the
    curvature, and no message."""

    @staticmethod
    def forward(ctx, x):
        big = (1 + torch.erf(x / math.sqrt(2))) / 2
        small = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        ctx.save_for_backward(big + x * small)
        return x * big

    @staticmethod
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope


@bug(
    wrong="backward differentiates a graph of its own, which ends at a detached copy of x",
    family="higher-order",
    channel="second_order",
    seen="https://github.com/pytorch/pytorch/issues/99523",
    shown_by=("plain", "wide", "summed_loss", "transposed"),
    hidden_by=("far_out", "trained"),
)
class InnerGraph(Gelu):
    """Autograd writes the backward. `create_graph` looks like the promise of a second derivative,
    but it leads to the copy, not to x."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach().requires_grad_()
        with torch.enable_grad():
            ctx.y = F.gelu(ctx.x)
        return ctx.y.detach()

    @staticmethod
    def backward(ctx, g):
        (dx,) = torch.autograd.grad(ctx.y, ctx.x, g, create_graph=True)
        return dx
