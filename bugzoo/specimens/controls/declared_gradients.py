"""Operations whose gradient is, by declaration, not the derivative of their forward.

The reference says with `detach` what the backward says in code: its autograd is the declared rule.
"""

from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def straight_through(x):
    return x + (x.round() - x).detach()


def reversed_gradient(x):
    return 1.5 * x.detach() - 0.5 * x


PLAIN = normal("plain", (4, 5), scale=3.0)
CASES = [PLAIN, normal("three_axes", (2, 3, 4)), consumed(PLAIN, "transposed")]


@control(
    declares="straight_through",
    looks="rounding is flat almost everywhere, and the gradient is g instead of 0",
    right="the straight-through estimator, as in quantisation-aware training",
    cases=CASES,
    reference=straight_through,
)
class StraightThrough(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g.clone()


@control(
    declares="straight_through",
    looks="the sign is wrong, and half of the gradient is missing",
    right="gradient reversal with a weight of 1/2, as in domain-adversarial training",
    cases=CASES,
    reference=reversed_gradient,
)
class GradientReversal(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return -0.5 * g
