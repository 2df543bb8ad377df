"""Logistic sigmoid.

    y  = 1 / (1 + exp(-x))                           x, y, g, dx: any one shape
    dx = g y (1 - y)

The derivative is written in the output, so y is all that backward needs.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden

PLAIN = normal("plain", (4, 5))
CASES = [
    PLAIN,
    normal("three_axes", (2, 3, 4)),
    normal("saturated", (3, 4), scale=0.5, shift=-40.0),
    consumed(PLAIN, "expanded", "summed_loss"),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=torch.sigmoid, seat=hidden())
class Sigmoid(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


@bug(
    wrong="the input is saved where the output belongs, so the derivative is x (1 - x)",
    family="wrong-math",
    channel="value",
    seen="https://github.com/BoltzmannEntropy/interviews.ai/issues/15",
    shown_by=("plain", "three_axes", "saturated", "summed_loss"),
)
class InputSaved(Sigmoid):
    """backward is right to the letter; the mistake is a letter in forward."""

    @staticmethod
    def forward(ctx, x):
        y = torch.sigmoid(x)
        ctx.save_for_backward(x)
        return y


@bug(
    wrong="the saved output is squashed a second time before the derivative is taken",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "three_axes", "saturated", "summed_loss"),
)
class SquashedTwice(Sigmoid):
    """A helper `sigmoid_prime(z)` is called with the activation instead of z. The factor stays
    positive and between 0.19 and 0.25, so training goes on; a saturated unit never lets go."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        y = torch.sigmoid(y)
        return g * y * (1 - y)


@bug(
    wrong="the factor 1 - y is lost, so only half of the derivative is there",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "three_axes", "summed_loss"),
    hidden_by="saturated",
)
class LostComplement(Sigmoid):
    """Where y is nearly 0 the lost factor is nearly 1; where y is nearly 1 it should be nearly 0."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


@bug(
    wrong="the cotangent is ignored: the local derivative is returned as it is",
    family="scaling",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/4355",
    shown_by=("plain", "three_axes", "transposed"),
    hidden_by=("summed_loss", "saturated"),
)
class CotangentIgnored(Sigmoid):
    """Tested with `y.sum().backward()` it is right. The real one was an activation called ISRLU."""

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return y * (1 - y)
