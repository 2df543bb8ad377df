"""Mean cross-entropy of logits in any type, computed in 32 bits at least.

    dx = g (softmax(x) - onehot(class)) / n          x, dx: (n, c)   g: scalar

A sure and right prediction has p near 1. 16 bits know no number between 0.996 and 1, so p - 1 has to
be formed before anything is rounded.
"""

import torch
from torch import Generator
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Case, bug, correct
from bugzoo.cases import leaf
from bugzoo.seats import loss

BFLOAT16 = 2**-6  # relative: 8 bits of precision, and two roundings on either side


def reference(x, classes):
    return F.cross_entropy(x.to(torch.promote_types(x.dtype, torch.float32)), classes)


def unsure(gen: Generator):
    x = torch.randn(4, 5, generator=gen, dtype=torch.float64)
    return leaf(x), torch.randint(5, (4,), generator=gen)


def unsure_in_16_bits(gen: Generator):
    x, classes = unsure(gen)
    return leaf(x.bfloat16()), classes


def surely_right(gen: Generator):
    x, classes = unsure(gen)
    return leaf(x.detach().scatter(-1, classes[:, None], 10.0)), classes


def surely_right_in_16_bits(gen: Generator):
    x, classes = surely_right(gen)
    return leaf(x.bfloat16()), classes


CASES = [
    Case("unsure", unsure),
    Case("surely_right", surely_right),
    Case("unsure_in_16_bits", unsure_in_16_bits, rtol=BFLOAT16),
    Case("surely_right_in_16_bits", surely_right_in_16_bits, rtol=BFLOAT16),
]


@correct(cases=CASES, reference=reference, seat=loss())
class NarrowCrossEntropy(Function):
    @staticmethod
    def forward(ctx, x, classes):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        ctx.save_for_backward(x, classes)
        return F.cross_entropy(wide, classes)

    @staticmethod
    def backward(ctx, g):
        x, classes = ctx.saved_tensors
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        p = torch.softmax(wide, -1)
        dx = g * (p - F.one_hot(classes, x.shape[-1])) / len(x)
        return dx.to(x.dtype), None


@bug(
    wrong="p is rounded to the logits' type before 1 is taken off, and 0.9998 becomes 1",
    family="dtype-precision",
    channel="value",
    seen=(
        "https://github.com/linkedin/Liger-Kernel/pull/1329",
        "https://github.com/NVIDIA/TransformerEngine/pull/3193",
    ),
    shown_by="surely_right_in_16_bits",
    hidden_by=("unsure", "surely_right", "unsure_in_16_bits", "trained"),
)
class RoundedBeforeSubtracted(NarrowCrossEntropy):
    """The gradient of the true class is 0 once the model is sure, while the other classes are still
    pushed down. In 64 bits, where gradients are checked, there is nothing to see."""

    @staticmethod
    def backward(ctx, g):
        x, classes = ctx.saved_tensors
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        p = torch.softmax(wide, -1).to(x.dtype)
        dx = g * (p - F.one_hot(classes, x.shape[-1])) / len(x)
        return dx.to(x.dtype), None
