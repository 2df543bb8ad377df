"""Mean of each row, whose gradient is one number seen f times.

y  = mean(x)                                     x, dx: (n, f)   y, g: (n,)
dx = g / f, expanded
"""

from torch.autograd import Function

from bugzoo import control
from bugzoo.cases import consumed, normal


def reference(x):
    return x.mean(-1)


ROWS = normal("rows", (4, 5))


@control(
    looks="all elements of a row of dx share one place in memory",
    right="nobody may write into a gradient that was handed out; autograd's own `sum` does the same",
    cases=[ROWS, normal("three_axes", (2, 3, 4)), consumed(ROWS, "narrow")],
    reference=reference,
)
class ExpandedGradient(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.mean(-1)

    @staticmethod
    def backward(ctx, g):
        return (g / ctx.shape[-1])[..., None].expand(ctx.shape)
