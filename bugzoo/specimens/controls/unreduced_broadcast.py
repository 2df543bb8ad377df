"""Addition of a vector to every row, without a sum in the backward.

y  = x + b                                       x, y, g, dx: (n, f)   b: (f,)
db = g                                           the engine sums it to the shape of b
"""

from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x, b):
    return x + b


ROWS = normal("rows", (4, 5), (5,))


@control(
    looks="the gradient of the broadcast vector is not reduced: g has the shape of y",
    right="autograd sums a returned gradient to its input's shape wherever it can",
    seen="https://github.com/pytorch/pytorch/issues/65244",
    cases=[
        ROWS,
        normal("square", (4, 4), (4,)),
        normal("three_axes", (2, 3, 4), (1, 4)),
        consumed(ROWS, "expanded", "summed_loss"),
    ],
    reference=reference,
)
class UnreducedBroadcast(Function):
    @staticmethod
    def forward(ctx, x, b):
        return x + b

    @staticmethod
    def backward(ctx, g):
        return g, g
