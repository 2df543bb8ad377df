"""Softmax over a single element.

y  = exp(x) / exp(x) = 1                         x, y, g, dx: (n, 1)
dx = y (g - g y) = 0
"""

import torch
from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x):
    return torch.softmax(x, -1)


ONE = normal("one_element", (5, 1))


@control(
    looks="no gradient ever arrives: dx is exactly 0, whatever the cotangent",
    right="the output is 1 whatever the input; the design may be at fault, the gradient is not",
    seen="https://github.com/jingyaogong/minimind/issues/858",
    cases=[ONE, consumed(ONE, "expanded", "summed_loss"), consumed(ONE, "large")],
    reference=reference,
)
class ConstantOutput(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        gy = g * y
        return gy - y * gy.sum(-1, keepdim=True)
