"""Product of each row.

    y    = x_1 x_2 ... x_f                           x, dx: (..., f)   y, g: (...)
    dx_i = g times the product of the others

The others are multiplied, never divided out: y / x_i is the same number only where x_i is not 0.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal


def reference(x):
    return x.prod(-1)


def one_zero(x):
    x[0, 1] = 0.0
    x[2, 3] = 0.0


def two_zeros(x):
    x[0, 1:3] = 0.0


ROWS = normal("rows", (3, 5))
CASES = [
    ROWS,
    normal("three_axes", (2, 3, 4)),
    changed(ROWS, "one_zero_in_a_row", one_zero),
    changed(ROWS, "two_zeros_in_a_row", two_zeros),
]


@correct(cases=CASES, reference=reference)
class Prod(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.prod(-1)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        one = torch.ones_like(x[..., :1])
        before = torch.cat([one, x[..., :-1]], -1).cumprod(-1)
        behind = torch.cat([one, x[..., 1:].flip(-1)], -1).cumprod(-1).flip(-1)
        return g[..., None] * before * behind


@bug(
    wrong="the product of the others is got by dividing, and 0 / 0 is NaN",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/tinygrad/tinygrad/pull/17404",
    shown_by=("one_zero_in_a_row", "two_zeros_in_a_row"),
    hidden_by=("rows", "three_axes"),
)
class DividedOut(Prod):
    """The formula of the textbook, x_i taken out of the whole. One 0 is enough to make it NaN."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        y = x.prod(-1, keepdim=True)
        return g[..., None] * y / x


@bug(
    wrong="where x is 0 the gradient is set to 0, although the others may have a product",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/174016",
    shown_by="one_zero_in_a_row",
    hidden_by=("rows", "three_axes", "two_zeros_in_a_row"),
)
class ZeroWhereZero(Prod):
    """The NaN of a division by zero was hushed up. With two zeros in a row the answer is right by
    accident; with one the only gradient of that row that is not 0 is lost."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        y = x.prod(-1, keepdim=True)
        return g[..., None] * torch.where(x == 0, 0.0, y / x)
