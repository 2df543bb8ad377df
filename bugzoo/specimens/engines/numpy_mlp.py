"""A network of three layers in NumPy, forward and backward by hand.

    A1 = s(X W1 + b1),  A2 = s(A1 W2 + b2),  P = softmax(A2 W3 + b3)        s: sigmoid
    L  = -sum(Y * log P) / n                        X: (n, d), Y: (n, k) one-hot, L: scalar

    D3 = g (P - Y) / n                              g: scalar, D3: (n, k)
    D2 = (D3 W3') * A2 (1 - A2)                     and so D1; D: like A
    dW = A' D,  db = sum over rows of D             A: what the layer was given

Rumelhart, Hinton & Williams, 1986.
"""

import numpy as np
import torch
from torch.nn import functional as F

from bugzoo import Case, Engine, bug, correct
from bugzoo.cases import consumed, leaf
from bugzoo.seats import network


def reference(X, Y, W1, b1, W2, b2, W3, b3):
    A2 = torch.sigmoid(torch.sigmoid(X @ W1 + b1) @ W2 + b2)
    return F.cross_entropy(A2 @ W3 + b3, Y)


def sizes(name, n, d, h1, h2, k):
    """`n` rows of `d` inputs in `k` classes, hidden layers of `h1` and `h2` units; X and Y fixed."""

    def draw(gen):
        shapes = ((n, d), (d, h1), (h1,), (h1, h2), (h2,), (h2, k), (k,))
        X, *parameters = (torch.randn(s, generator=gen, dtype=torch.float64) for s in shapes)
        Y = F.one_hot(torch.randint(k, (n,), generator=gen), k).to(X.dtype)
        return X, Y, *map(leaf, parameters)

    return Case(name, draw)


USUAL = sizes("usual", 6, 5, 4, 3, 2)
CASES = [
    USUAL,
    sizes("square", 4, 4, 4, 4, 4),
    sizes("one_row", 1, 5, 4, 3, 2),
    consumed(USUAL, "ones", "plain_loss"),
]
SEAT = network((64, 16), (16,), (16, 16), (16,), (16, 10), (10,), one_hot=True)


@correct(cases=CASES, reference=reference, seat=SEAT)
class NumpyMlp(Engine):
    @staticmethod
    def sigmoid(z):
        return (1 + np.tanh(z / 2)) / 2

    @staticmethod
    def slope(a):
        return a * (1 - a)

    @classmethod
    def forward(cls, X, Y, W1, b1, W2, b2, W3, b3):
        A1 = cls.sigmoid(X @ W1 + b1)
        A2 = cls.sigmoid(A1 @ W2 + b2)
        Z = A2 @ W3 + b3
        Z = Z - Z.max(1, keepdims=True)
        log_P = Z - np.log(np.exp(Z).sum(1, keepdims=True))
        return -(Y * log_P).sum() / len(X), (X, Y, W2, W3, A1, A2, np.exp(log_P))

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y) / len(X)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3

    @classmethod
    def run(cls, *arrays):
        loss, cache = cls.forward(*arrays)
        return loss, lambda g: cls.backward(cache, g)


@bug(
    wrong="the factors of dW2 change places: D' A where A' D belongs, the transpose",
    family="wrong-math",
    channel="value",
    shown_by="square",
)
class TransposedWeightGradient(NumpyMlp):
    """Layers of unequal width refuse it by their shapes; between equal ones it fits, and half of
    the network learns a mirror image."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y) / len(X)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, D2.T @ A1, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="the slope of the first sigmoid is forgotten: D1 lacks the factor A1 (1 - A1)",
    family="wrong-math",
    channel="value",
    shown_by=("usual", "square", "one_row"),
)
class SlopeForgotten(NumpyMlp):
    """The factor is positive and at most 1/4, so every sign in D1 is right and the loss falls, even
    faster than it should."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y) / len(X)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = D2 @ W2.T
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="the slope is written for the pre-activation and handed the activation: squashed twice",
    family="wrong-math",
    channel="value",
    shown_by=("usual", "square", "one_row"),
)
class SlopeOfActivation(NumpyMlp):
    """`sigmoid_prime(z)` from one tutorial, called with `a` as in another. The slope is never below
    0.19, so saturated units look lively; the loss falls as it should."""

    @classmethod
    def slope(cls, a):
        a = cls.sigmoid(a)
        return a * (1 - a)


@bug(
    wrong="the loss is a mean over rows, its gradient is that of the sum",
    family="scaling",
    channel="value",
    shown_by=("usual", "square"),
    hidden_by="one_row",
)
class NotDividedByRows(NumpyMlp):
    """A learning rate that has to be tuned anew with every batch size."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="target minus prediction: every gradient has the wrong sign",
    family="wrong-math",
    channel="value",
    shown_by=("usual", "square", "one_row"),
)
class TargetMinusPrediction(NumpyMlp):
    """Older texts write the update with a plus, and then it is right. Mixed with a minus it climbs:
    the loss grows from the first step."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (Y - P) / len(X)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="bias gradients are means over the rows, and the rows have been averaged already",
    family="missing-reduction",
    channel="value",
    shown_by=("usual", "square"),
    hidden_by="one_row",
)
class BiasMean(NumpyMlp):
    """The biases learn n times more slowly than the weights. In most networks nobody would miss
    them altogether."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y) / len(X)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.mean(0), D2.mean(0), D3.mean(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="the error is not sent back through W3, it is used as if W3 were the identity",
    family="wrong-math",
    channel="value",
    shown_by="square",
)
class WeightsSkipped(NumpyMlp):
    """Fits only where there are as many units as classes. The last layer learns rightly, the others
    something; the loss falls."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y) / len(X)
        D2 = D3 * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="the cotangent is taken for 1, as if the loss were always the end of the graph",
    family="scaling",
    channel="value",
    seen="https://github.com/pytorch/pytorch/issues/4355",
    shown_by=("usual", "square", "one_row"),
    hidden_by=("plain_loss", "trained"),
)
class CotangentTakenForOne(NumpyMlp):
    """True in every script that the network was written for. Scaled, weighted or averaged with
    another loss, it goes on delivering the gradient of itself alone."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = (P - Y) / len(X)
        D2 = (D3 @ W3.T) * cls.slope(A2)
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2, dW3 = X.T @ D1, A1.T @ D2, A2.T @ D3
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="the cache is one for all calls: a second forward replaces what the first one saved",
    family="saved-tensor-mutation",
    channel="reentrancy",
    shown_by=("usual", "square", "one_row", "plain_loss"),
    hidden_by="trained",
)
class SharedCache(NumpyMlp):
    """Forward, backward, forward, backward: always right. Forward on the training batch, forward on
    a validation batch, backward: the gradient of the validation loss."""

    @classmethod
    def run(cls, *arrays):
        loss, cls.cache = cls.forward(*arrays)
        return loss, lambda g: cls.backward(cls.cache, g)


@bug(
    wrong="the slope is computed in the memory of the cached activation, which is spent after one use",
    family="saved-tensor-mutation",
    channel="reentrancy",
    shown_by=("usual", "square", "one_row", "plain_loss"),
    hidden_by="trained",
)
class CacheSpent(NumpyMlp):
    """One temporary array saved, and the first backward is right. A second one over the same
    forward, for another loss or a check, finds a (1 - a) where a should be."""

    @classmethod
    def backward(cls, cache, g):
        X, Y, W2, W3, A1, A2, P = cache
        D3 = g * (P - Y) / len(X)
        dW3 = A2.T @ D3
        A2 *= 1 - A2
        D2 = (D3 @ W3.T) * A2
        D1 = (D2 @ W2.T) * cls.slope(A1)
        dW1, dW2 = X.T @ D1, A1.T @ D2
        db1, db2, db3 = D1.sum(0), D2.sum(0), D3.sum(0)
        return None, None, dW1, db1, dW2, db2, dW3, db3


@bug(
    wrong="dW2 is computed into a buffer of the forward, which the next backward overwrites",
    family="saved-tensor-mutation",
    channel="reentrancy",
    seen="https://github.com/pytorch/pytorch/issues/96693",
    shown_by=("usual", "square", "one_row"),
    hidden_by=("plain_loss", "trained"),
)
class OneBuffer(NumpyMlp):
    """Who keeps the gradient, as torch does in .grad, keeps a window onto the next one. Two
    backwards are then added as twice the second."""

    @classmethod
    def run(cls, *arrays):
        loss, cache = cls.forward(*arrays)
        dW2 = np.empty_like(arrays[4])

        def pullback(g):
            grads = list(cls.backward(cache, g))
            dW2[...] = grads[4]
            grads[4] = dW2
            return tuple(grads)

        return loss, pullback
