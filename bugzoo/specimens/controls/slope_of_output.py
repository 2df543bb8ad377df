"""A sigmoid whose slope comes from a helper that wants the output, not the input.

y  = 1 / (1 + exp(-x))                           x, y, g, dx: any one shape
dx = g y (1 - y)
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal

PLAIN = normal("plain", (4, 5))


@control(
    looks="the helper says x (1 - x), and the derivative of the sigmoid is s(x) (1 - s(x))",
    right="what it is called with has been through the sigmoid already",
    seen=(
        "https://github.com/PacktPublishing/Neural-Network-Projects-with-Python/issues/4",
        "https://github.com/torch/torch7/issues/232",
    ),
    cases=[PLAIN, normal("three_axes", (2, 3, 4)), consumed(PLAIN, "transposed")],
    reference=torch.sigmoid,
)
class SlopeOfOutput(Function):
    @staticmethod
    def sigmoid_derivative(x):
        return x * (1 - x)

    @staticmethod
    def forward(ctx, x):
        y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * SlopeOfOutput.sigmoid_derivative(y)
