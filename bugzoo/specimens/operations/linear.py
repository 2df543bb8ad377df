"""Fully connected layer.

    y  = x w + b                                     x, dx: (n, d)   w, dw: (d, k)
    dx = g w'                                        y, g:  (n, k)   b, db: (k,)
    dw = x' g
    db = sum(g) over the rows

A rule for the shapes finds most of the wrong products, unless w is square.
Rumelhart, Hinton & Williams, 1986.
"""

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import hidden


def reference(x, w, b):
    return x @ w + b


def symmetric(x, w, b):
    w.copy_(w + w.mT)


TALL = normal("tall", (5, 3), (3, 2), (2,))
SQUARE = normal("square", (4, 4), (4, 4), (4,))
CASES = [
    TALL,
    SQUARE,
    changed(SQUARE, "symmetric_weight", symmetric),
    normal("one_row", (1, 4), (4, 4), (4,)),
    normal("one_unit", (5, 1), (1, 1), (1,)),
    consumed(SQUARE, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=hidden((32, 32), (32,)))
class Linear(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return x @ w + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g @ w.mT
        dw = x.mT @ g
        db = g.sum(-2)
        return dx, dw, db


@bug(
    wrong="the Jacobian w stands where its transpose belongs, so dx = g w",
    family="wrong-math",
    channel="value",
    shown_by=("square", "one_row", "transposed"),
    hidden_by=("symmetric_weight", "one_unit"),
)
class InputByUntransposedWeight(Linear):
    """Raises at once for a layer that changes the width; hidden layers of one width are silent,
    and the layers before them learn from a mixed-up signal."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g @ w
        dw = x.mT @ g
        db = g.sum(-2)
        return dx, dw, db


@bug(
    wrong="the outer product is taken the wrong way round, so dw is the transpose of what it is",
    family="wrong-math",
    channel="value",
    shown_by=("square", "symmetric_weight", "transposed"),
    hidden_by="one_unit",
)
class TransposedWeightGradient(Linear):
    """dx stays right, so every other layer of the network still learns."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g @ w.mT
        dw = g.mT @ x
        db = g.sum(-2)
        return dx, dw, db


@bug(
    wrong="the bias gets the cotangent of the first row instead of the sum over all rows",
    family="missing-reduction",
    channel="value",
    shown_by=("tall", "square", "one_unit"),
    hidden_by="one_row",
)
class BiasFromFirstRow(Linear):
    """The shape is right, which an unreduced g is not: that one the engine would sum by itself."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g @ w.mT
        dw = x.mT @ g
        db = g[0]
        return dx, dw, db


@bug(
    wrong="the bias gradient is averaged over the rows although g already carries the 1/n of the loss",
    family="scaling",
    channel="value",
    shown_by=("tall", "square", "one_unit"),
    hidden_by="one_row",
)
class BiasAveraged(Linear):
    """Only the biases learn n times too slowly: an optimizer like Adam hides it altogether."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = g @ w.mT
        dw = x.mT @ g
        db = g.mean(-2)
        return dx, dw, db


@bug(
    wrong="the gradients of w and b are computed only when x wants one too",
    family="api-contract",
    channel="contract",
    seen="https://github.com/fbcotter/pytorch_wavelets/issues/65",
    shown_by=("tall", "square", "one_row", "one_unit"),
    hidden_by="trained",
)
class WaitsForTheInput(Linear):
    """A first layer, whose input is data, then never learns; in the middle of a network the same
    layer is right. A test in which every input requires grad sees nothing. The real one was
    a wavelet transform."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = g @ w.mT
            dw = x.mT @ g
            db = g.sum(-2)
        return dx, dw, db
