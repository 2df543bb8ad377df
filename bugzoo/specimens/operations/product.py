"""Elementwise product; one tensor given alone is both factors.

y  = x w                                         x, w, y, g, dx, dw: any one shape
dx = g w
dw = g x                                         f(x, x): the two are added, 2 g x
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import hidden


def reference(*inputs):
    return inputs[0] * inputs[-1]


PLAIN = normal("two_factors", (4, 5), (4, 5))
CASES = [
    PLAIN,
    normal("square_of_one", (4, 5)),
    consumed(PLAIN, "ones", "summed_loss"),
    consumed(PLAIN, "narrow"),
]


@correct(cases=CASES, reference=reference, seat=hidden(before=torch.tanh))
class Product(Function):
    @classmethod
    def apply(cls, *inputs):
        return super().apply(inputs[0], inputs[-1])

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g * w
        dw = g * x
        return dx, dw


@bug(
    wrong="one tensor in both slots gets the gradient of one slot only",
    family="missing-reduction",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/181146",
    shown_by="square_of_one",
    hidden_by=("two_factors", "summed_loss", "narrow"),
)
class SecondSlotDropped(Product):
    """Equal inputs are recognised and the work is done once; but the two slots are two paths."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g * w
        dw = g * x if x is not w else None
        return dx, dw


@bug(
    wrong="each factor's gradient is built with itself instead of with the other",
    family="wrong-math",
    channel="value",
    shown_by=("two_factors", "summed_loss", "narrow"),
    hidden_by=("square_of_one", "trained"),
)
class OwnFactorKept(Product):
    """The square is right by symmetry, and it is the first thing that one tries."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g * x
        dw = g * w
        return dx, dw


@bug(
    wrong="the factors are kept on the class, so the next call replaces those of this one",
    family="saved-tensor-mutation",
    channel="reentrancy",
    shown_by=("two_factors", "square_of_one", "summed_loss", "narrow"),
    hidden_by="trained",
)
class KeptOnClass(Product):
    """The habit of layers that remember their last input. A layer that is used twice before the
    backward pass, as in a recurrent or a siamese network, mixes up the two calls."""

    @staticmethod
    def forward(ctx, x, w):
        Product.kept = x, w
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = Product.kept
        dx = g * w
        dw = g * x
        return dx, dw
