"""A scalar engine in the manner of micrograd: every number is a node that knows its parents.

    z = x + y:  dx += dz,      dy += dz
    z = x - y:  dx += dz,      dy -= dz
    z = x * y:  dx += y * dz,  dy += x * dz
    z = x ** k: dx += k * x ** (k - 1) * dz
    z = tanh x: dx += (1 - z * z) * dz
    z = relu x: dx += dz where z > 0

`backward` visits the nodes from the output to the leaves, each once, after all that use it.
Karpathy, micrograd, 2020.
"""

import math

import numpy as np

from bugzoo import Engine, bug, correct
from bugzoo.cases import normal

PROGRAMS = {
    "each_once": lambda a, b: (a * b).tanh(),
    "chain": lambda a, b: (a * b + a**2).tanh(),
    "diamond": lambda a, b: (c := a * b) + (c * a).tanh(),
    "hinge": lambda a, b: (a - b).relu() + (1 - a) * b,
}
CASES = [normal(name, (4,), (4,), extras=(name,)) for name in PROGRAMS]


def reference(a, b, program):
    return PROGRAMS[program](a, b)


@correct(cases=CASES, reference=reference)
class Value(Engine):
    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents
        self.pull = lambda: None

    def __add__(self, other):
        out = type(self)(self.data + other.data, (self, other))

        def pull():
            self.grad += out.grad
            other.grad += out.grad

        out.pull = pull
        return out

    def __sub__(self, other):
        out = type(self)(self.data - other.data, (self, other))

        def pull():
            self.grad += out.grad
            other.grad -= out.grad

        out.pull = pull
        return out

    def __rsub__(self, number):
        out = type(self)(number - self.data, (self,))

        def pull():
            self.grad -= out.grad

        out.pull = pull
        return out

    def __mul__(self, other):
        out = type(self)(self.data * other.data, (self, other))

        def pull():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.pull = pull
        return out

    def __pow__(self, k):
        out = type(self)(self.data**k, (self,))

        def pull():
            self.grad += k * self.data ** (k - 1) * out.grad

        out.pull = pull
        return out

    def tanh(self):
        out = type(self)(math.tanh(self.data), (self,))

        def pull():
            self.grad += (1 - out.data**2) * out.grad

        out.pull = pull
        return out

    def relu(self):
        out = type(self)(max(self.data, 0.0), (self,))

        def pull():
            self.grad += (out.data > 0) * out.grad

        out.pull = pull
        return out

    def order(self):
        found, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for parent in node.parents:
                    visit(parent)
                found.append(node)

        visit(self)
        return found[::-1]

    def backward(self, g):
        nodes = self.order()
        for node in nodes:
            node.grad = 0.0
        self.grad = g
        for node in nodes:
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
    shown_by=("chain", "diamond"),
    hidden_by=("each_once", "hinge"),
)
class AssignsForAdds(Value):
    """The first thing that everyone gets wrong. A tree does not show it, nor does a second use that
    happens to be visited later and adds."""

    def __mul__(self, other):
        out = type(self)(self.data * other.data, (self, other))

        def pull():
            self.grad = other.data * out.grad
            other.grad = self.data * out.grad

        out.pull = pull
        return out


@bug(
    wrong="nodes are visited as they are met, so a shared one passes its gradient on too early",
    family="missing-reduction",
    channel="value",
    seen="https://github.com/TrenTorch/TrenTorch/pull/182",
    shown_by="diamond",
    hidden_by=("each_once", "chain", "hinge"),
)
class VisitedAsMet(Value):
    """A node with two consumers is pulled after the first of them; what the second adds stays where
    it is. Leaves pass nothing on, so a leaf that is used twice does not show it."""

    def order(self):
        found, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                found.append(node)
                for parent in node.parents:
                    visit(parent)

        visit(self)
        return found


@bug(
    wrong="nobody remembers which nodes were visited, so a shared one passes its gradient on twice",
    family="missing-reduction",
    channel="value",
    shown_by="diamond",
    hidden_by=("each_once", "chain", "hinge"),
)
class VisitedTwice(Value):
    """Too large, and exponentially so in a deep net of residual blocks, which then never ends."""

    def order(self):
        found = []

        def visit(node):
            for parent in node.parents:
                visit(parent)
            found.append(node)

        visit(self)
        return found[::-1]


@bug(
    wrong="the exponent is not lowered by one: k x^k",
    family="wrong-math",
    channel="value",
    shown_by="chain",
    hidden_by=("each_once", "diamond", "hinge"),
)
class ExponentNotLowered(Value):
    """Right at x = 1, which is a favourite of hand-made examples."""

    def __pow__(self, k):
        out = type(self)(self.data**k, (self,))

        def pull():
            self.grad += k * self.data**k * out.grad

        out.pull = pull
        return out


@bug(
    wrong="the mask of relu is reversed: the gradient passes where the unit is off",
    family="masking-boundary",
    channel="value",
    shown_by="hinge",
    hidden_by=("each_once", "chain", "diamond"),
)
class ReluReversed(Value):
    """A unit that is off is pulled until it is on, and then left alone."""

    def relu(self):
        out = type(self)(max(self.data, 0.0), (self,))

        def pull():
            self.grad += (out.data <= 0) * out.grad

        out.pull = pull
        return out


@bug(
    wrong="number - x has the gradient of x - number",
    family="wrong-math",
    channel="value",
    shown_by="hinge",
    hidden_by=("each_once", "chain", "diamond"),
)
class ReflectedSign(Value):
    """Copied from __sub__, where the left operand is the one with the plus. The value is right."""

    def __rsub__(self, number):
        out = type(self)(number - self.data, (self,))

        def pull():
            self.grad += out.grad

        out.pull = pull
        return out


@bug(
    wrong="the slope of tanh is taken at its input: 1 - x^2",
    family="wrong-math",
    channel="value",
    shown_by=("each_once", "chain", "diamond"),
    hidden_by="hinge",
)
class TanhAtInput(Value):
    """Good to three digits near zero, where networks start, and of the wrong sign beyond one."""

    def tanh(self):
        out = type(self)(math.tanh(self.data), (self,))

        def pull():
            self.grad += (1 - self.data**2) * out.grad

        out.pull = pull
        return out


@bug(
    wrong="gradients are not zeroed at the start, so a second backward adds to the first",
    family="accumulation-zeroing",
    channel="reentrancy",
    shown_by=("each_once", "chain", "diamond", "hinge"),
)
class GradKept(Value):
    """For the leaves it may be meant, and a loop that zeroes its parameters is content. The nodes in
    between keep theirs too, and nobody zeroes those."""

    def backward(self, g):
        self.grad = g
        for node in self.order():
            node.pull()
