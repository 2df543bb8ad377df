"""A scalar engine in the manner of micrograd: every number is a node that knows its parents.

    z = x + y:  dx += dz,      dy += dz
    z = x * y:  dx += y * dz,  dy += x * dz
    z = x ** k: dx += k * x ** (k - 1) * dz
    z = tanh x: dx += (1 - z * z) * dz

`backward` visits the nodes from the output to the leaves, each once, after all that use it.
Karpathy, micrograd, 2020.
"""

import math

import numpy as np

from bugzoo import Engine, bug, correct
from bugzoo.cases import normal


def chain(a, b):
    """tanh(a * b + a ** 2): a is used twice."""
    return (a * b + a**2).tanh()


def each_once(a, b):
    """tanh(a * b): every node has one consumer."""
    return (a * b).tanh()


def reference(a, b, program):
    return (a * b + a**2 if program == "chain" else a * b).tanh()


PROGRAMS = {"chain": chain, "each_once": each_once}
CASES = [
    normal("chain", (3,), (3,), extras=("chain",)),
    normal("each_once", (3,), (3,), extras=("each_once",)),
]


@correct(cases=CASES, reference=reference)
class Value(Engine):
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents
        self.pull = lambda: None

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))

        def pull():
            self.grad += out.grad
            other.grad += out.grad

        out.pull = pull
        return out

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def pull():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.pull = pull
        return out

    def __pow__(self, k):
        out = Value(self.data**k, (self,))

        def pull():
            self.grad += k * self.data ** (k - 1) * out.grad

        out.pull = pull
        return out

    def tanh(self):
        out = Value(math.tanh(self.data), (self,))

        def pull():
            self.grad += (1 - out.data * out.data) * out.grad

        out.pull = pull
        return out

    def backward(self, g):
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        for node in order:
            node.grad = 0.0
        self.grad = g
        for node in reversed(order):
            node.pull()

    @classmethod
    def run(cls, a, b, program):
        pairs = [(cls(float(p)), cls(float(q))) for p, q in zip(a, b, strict=True)]
        outs = [PROGRAMS[program](p, q) for p, q in pairs]

        def pullback(g):
            for out, seed in zip(outs, g, strict=True):
                out.backward(float(seed))
            columns = ([p.grad for p, _ in pairs], [q.grad for _, q in pairs])
            return *map(np.array, columns), None

        return np.array([out.data for out in outs]), pullback


@bug(
    wrong="the gradient of a product is assigned, not added, so a second use of a factor is lost",
    family="missing-reduction",
    channel="value",
    shown_by="chain",
    hidden_by="each_once",
)
class AssignsForAdds(Value):
    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def pull():
            self.grad = other.data * out.grad
            other.grad = self.data * out.grad

        out.pull = pull
        return out
