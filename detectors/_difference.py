"""Central differences of L(x) = <op(x), g>, shared by the detectors that differentiate numerically.

    dL/dx[i] = (L(x + h e_i) - L(x - h e_i)) / 2h + O(h^2)        h: absolute step, float64

Rounding alone leaves about eps |L| / h in such a difference: `rounding` says how much, so that a
true gradient of 0 is not held against anyone.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.autograd import forward_ad

from bugzoo.subject import Subject, fresh, leaves, outputs, tensors

ULPS = 10  # units in the last place that one forward may be off


@dataclass(frozen=True)
class Point:
    """Where to differentiate: float64 `inputs`, their outputs `y` there, or why it is `unfit`.

    `slots`: which of the operation's tensors the outputs are.
    """

    inputs: tuple[Any, ...]
    y: tuple[Tensor, ...]
    slots: tuple[int, ...] = ()
    unfit: str = ""

    @property
    def wrt(self) -> tuple[Tensor, ...]:
        return leaves(self.inputs)


def point(subject: Subject, gen: Generator) -> Point:
    """The inputs of the subject raised to float64, as numerical differentiation needs them."""
    inputs = fresh(subject.inputs(gen), torch.float64)
    made = tensors(subject.op(*inputs))
    kept = outputs(made)
    slots = tuple(n for n, t in enumerate(made) if any(t is b for b in kept))
    y = tuple(b.detach().clone() for b in kept)
    if not subject.deterministic:
        unfit = "the forward is random: a difference of two forwards would measure the noise"
    elif not sum(x.numel() for x in leaves(inputs)) or not sum(b.numel() for b in y):
        unfit = "no element of an input or an output carries a gradient"
    elif any(b.dtype != torch.float64 for b in (*leaves(inputs), *y)):
        unfit = f"an output is {y[0].dtype} although the inputs are float64"
    elif not all(b.isfinite().all() for b in y):
        unfit = "the forward is not finite here"
    else:
        unfit = ""
    return Point(inputs, y, slots, unfit)


def normal_like(those: Sequence[Tensor], gen: Generator) -> tuple[Tensor, ...]:
    """A standard normal tensor, dense, for each of `those`."""
    return tuple(torch.randn(t.shape, generator=gen, dtype=t.dtype) for t in those)


def moved(at: Point, u: Sequence[Tensor], step: float) -> tuple[Any, ...]:
    """The inputs at x + step u, as new leaves; u: one direction for each leaf."""
    there, left = fresh(at.inputs), iter(u)
    for x in leaves(there):
        x.data.add_(next(left), alpha=step)
    return there


def slope(subject: Subject, at: Point, u: Sequence[Tensor], g: Sequence[Tensor], h: float) -> float:
    """<J u, g> by central differences: two forwards."""
    plus, minus = (outputs(subject.op(*moved(at, u, s))) for s in (h, -h))
    return sum(
        ((a - b).detach() * c).sum().item() for a, b, c in zip(plus, minus, g, strict=True)
    ) / (2 * h)


def partial(
    subject: Subject, at: Point, x: Tensor, i: tuple[int, ...], g: Sequence[Any], h: float
) -> float:
    """dL/dx[i] by central differences in NumPy: two forwards; x: one of the leaves, put back after."""
    values = x.detach().numpy()  # shares the leaf's memory
    old = values[i]
    ends = []
    for there in (old + h, old - h):
        values[i] = there
        ends.append([b.detach().numpy().copy() for b in outputs(subject.op(*at.inputs))])
    values[i] = old
    return float(sum(((a - b) * np.asarray(c)).sum() for a, b, c in zip(*ends, g)) / (2 * h))


def gradient(subject: Subject, at: Point, g: Sequence[Tensor], h: float) -> tuple[Tensor, ...]:
    """dL/dx for every leaf, element by element: 2 n forwards."""
    found = []
    for x in at.wrt:
        d = np.zeros(x.shape)
        for i in np.ndindex(d.shape):
            d[i] = partial(subject, at, x, i, g, h)
        found.append(torch.from_numpy(d))
    return tuple(found)


def delivered(subject: Subject, at: Point, g: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What backward hands to each leaf at the point; it is lent copies, so it may spoil them."""
    return subject.vjp(fresh(at.inputs), [b.clone() for b in g])


def summed(subject: Subject, at: Point) -> tuple[Tensor, ...]:
    """What backward hands to each leaf after `.sum()`: a scalar cotangent, expanded with stride 0."""
    inputs = fresh(at.inputs)
    y = outputs(subject.op(*inputs))
    zeros = tuple(torch.zeros_like(x) for x in at.wrt)
    if not any(b.requires_grad for b in y):
        return zeros
    total = torch.stack([b.sum() for b in y]).sum()
    found = torch.autograd.grad(total, leaves(inputs), allow_unused=True)
    return tuple(o if d is None else d for o, d in zip(zeros, found, strict=True))


def tangents(subject: Subject, at: Point, u: Sequence[Tensor]) -> list[Tensor]:
    """J u by forward-mode AD of the reference, one tangent for each of `at.y`: exact to rounding."""
    left = iter(u)
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore")  # torch compiles its own jvp rules on first use
        duals = [
            forward_ad.make_dual(x.detach(), next(left))
            if isinstance(x, Tensor) and x.requires_grad
            else x
            for x in at.inputs
        ]
        z = tensors(subject.reference(*duals))
        found = [forward_ad.unpack_dual(z[n]) for n in at.slots]
        return [d.primal * 0 if d.tangent is None else d.tangent for d in found]


def rounding(at: Point, g: Sequence[Tensor], h: float) -> float:
    """What rounding of the forwards alone can leave in a difference of <y, g>."""
    size = sum((y * b).abs().sum().item() for y, b in zip(at.y, g, strict=True))
    return ULPS * torch.finfo(torch.float64).eps * size / h


@dataclass(frozen=True)
class Gap:
    """How far two sets of gradients are apart, and the element that shows it."""

    score: float
    because: str
    where: str


def widest(
    got: Sequence[Tensor], true: Sequence[Tensor], error: Callable[[Tensor, Tensor], Tensor]
) -> Gap:
    """The element with the largest `error(got, true)`, inf where only `true` is finite.

    Elements where `true` is not finite are left out; `where` is '' when there is no other.
    """
    worst = Gap(-1.0, "no element to compare", "")
    for n, (a, b) in enumerate(zip(got, true, strict=True)):
        off = torch.where(a.isfinite(), error(a, b), torch.inf).where(b.isfinite(), -1.0)
        if off.numel() and off.max().item() > worst.score:
            i = tuple(int(k) for k in np.unravel_index(int(off.argmax()), a.shape))
            because = f"backward {a[i].item():.9g}, expected {b[i].item():.9g}"
            worst = Gap(off[i].item(), because, f"dx{n}{list(i) if i else ''}")
    return worst


def relative_to_largest(floor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """|a - b| beyond `floor`, relative to the largest finite |a| or |b| of the tensor."""

    def error(a: Tensor, b: Tensor) -> Tensor:
        if not a.numel():
            return a
        largest = torch.stack([a, b]).abs().nan_to_num(0.0, posinf=0.0).max().item()
        return ((a - b).abs() - floor).clamp(min=0) / (largest or 1.0)

    return error
