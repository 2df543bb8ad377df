"""Clamp to [-1, 1].

    y  = min(max(x, -1), 1)                          x, y, g, dx: any one shape
    dx = g where -1 <= x <= 1, else 0

On the bounds the gradient passes, as in torch.
"""

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal
from bugzoo.seats import hidden


def reference(x):
    return x.clamp(-1.0, 1.0)


def rounded(x):
    x.round_()


PLAIN = normal("plain", (4, 5), scale=2.0)
CASES = [
    PLAIN,
    changed(PLAIN, "on_the_bounds", rounded),
    normal("inside", (4, 5), scale=0.1),
    normal("outside", (4, 5), scale=0.1, shift=3.0),
]


@correct(cases=CASES, reference=reference, seat=hidden())
class Clamp(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1.0, 1.0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x.abs() <= 1)


@bug(
    wrong="on the bounds themselves the gradient is stopped",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/pytorch/ao/pull/4806",
    shown_by="on_the_bounds",
    hidden_by=("plain", "inside", "outside", "trained"),
)
class StoppedOnTheBounds(Clamp):
    """Random numbers never hit a bound; quantised ones lie exactly on it. The real one let a run
    diverge thousands of steps later."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x.abs() < 1)


@bug(
    wrong="the gradient passes outside the bounds too, as if nothing had been clamped",
    family="masking-boundary",
    channel="value",
    seen="https://github.com/microsoft/nni/pull/3160",
    shown_by=("plain", "on_the_bounds", "outside"),
    hidden_by="inside",
)
class PassesOutside(Clamp):
    """A straight-through estimator that nobody declared: what is out of range is pushed further."""

    @staticmethod
    def backward(ctx, g):
        return g
