"""Special values: zeros, ties, bounds, large and small ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bugzoo.checkup.direction import symmetric
from bugzoo.checkup.graph import nodes
from bugzoo.checkup.target import Rejected, Target, copies, dense, put_back
from bugzoo.checkup.variation import Variation

FAR = 1e3  # beyond what exp takes
MANY = 1000  # elements that are put one by one, at most
BOUNDS = (1e-2, 1e2)  # within these a number in the code may be a bound of values


def special_values(
    target: Target, inputs: tuple[Any, ...], literals: list[float]
) -> Iterator[Variation]:
    """Zeros, ties, and the bounds that the code itself names, put into single elements."""
    bounds = [c for c in literals if c != 0][:6] or [1.0, -1.0]
    leaves = target.leaves(inputs)[:4]
    for number, (name, x) in enumerate(leaves):
        if x.numel() == 0 or x.layout != torch.strided:
            continue
        row = _row(x)
        if x.is_complex():  # the angle is not defined there, the modulus has a kink
            yield _put(target, inputs, number, name, row[:1], 0.0, "one zero")
            if len(row) > 1:
                yield _put(target, inputs, number, name, row, 0.0, "a row of zeros")
            continue
        yield _put(target, inputs, number, name, row[:1], 0.0, "one zero")
        if len(row) > 1:
            yield _put(target, inputs, number, name, row[:2], 0.0, "two zeros")
            yield _tied(target, inputs, number, name, row)
        if len(row) > 2:
            yield _put(target, inputs, number, name, row, 0.0, "a row of zeros")
            yield _put(target, inputs, number, name, row, x[row[0]].item(), "a constant row")
        if x.dim() > 1 and x.shape[0] > 1:
            column = [(i, *(n // 2 for n in x.shape[1:])) for i in range(x.shape[0])]
            value = x[column[0]].item()
            yield _put(target, inputs, number, name, column, value, "a constant column")
        if len(row) < x.numel() <= MANY and not symmetric(x):
            every = list(itertools.product(*map(range, x.shape)))
            value = _short(x[row[0]].item())
            made = _put(target, inputs, number, name, every, value, "one number throughout")
            if made.name and _steady(target, made.inputs, number):
                yield made
        for slot, places in _masks(inputs, x):
            for state in (False, True):
                chosen = [tuple(map(int, i)) for i in (places == state).nonzero()]
                if 0 < len(chosen) <= MANY and len(chosen) < x.numel():
                    where = f"zeros where input {slot} is {state}"
                    yield _put(target, inputs, number, name, chosen, 0.0, where)
        for c in bounds:
            yield _put(target, inputs, number, name, row[:1], c, f"one element = {c:g}")
        yield _around(target, inputs, number, name, bounds)


def _short(value: Any) -> Any:
    """Of few binary digits, so that the mean of many is itself and not next to it."""
    return value if isinstance(value, complex) else round(8 * value) / 8 or 0.125


def _masks(inputs: tuple[Any, ...], x: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Boolean inputs that choose elements of x, each in the shape of x."""
    for slot, mask in enumerate(inputs):
        if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.dim() and x.dim():
            with suppress(RuntimeError):  # of another shape
                yield slot, mask.expand(x.shape)


def _steady(target: Target, inputs: tuple[Any, ...], leaf: int) -> bool:
    """The outputs hardly move with the last digits, and no decomposition is in the graph: of equal
    eigenvalues its vectors are any, and torch's own gradient is NaN."""
    x = target.leaves(inputs)[leaf][1]
    try:
        names = {n.name() for n in nodes(y.grad_fn for y in target.forward(inputs))}
        before = target.plain(inputs)
        with put_back([x]), torch.no_grad():
            x.add_(torch.linspace(-1, 1, x.numel()).sin().to(x).reshape(x.shape), alpha=1e-6)
            after = target.plain(inputs)
    except Rejected:
        return False
    if any(word in name for name in names for word in ("Eig", "Svd", "Qr")):
        return False
    return [y.shape for y in before] == [y.shape for y in after] and all(
        torch.allclose(dense(a), dense(b), 1e-3, 1e-2) for a, b in zip(before, after, strict=True)
    )


def _around(
    target: Target, inputs: tuple[Any, ...], leaf: int, name: str, bounds: list[float]
) -> Variation:
    """Values below and above each bound, the outermost first, spread over the elements."""
    made = copies(inputs)
    x = target.leaves(made)[leaf][1]
    if x is target.leaves(inputs)[leaf][1] or symmetric(x) or _choice(x):
        return Variation("", ())
    known = {f * c for c in bounds if BOUNDS[0] <= abs(c) <= BOUNDS[1] for f in (0.5, 1.5)}
    if bool((x.detach() >= 0).all()):  # widths, shares and variances stay what they are
        known = {c for c in known if c > 0}
    known -= set(bounds)
    far = sorted(known, key=lambda c: (-abs(c), c))[: x.numel()]
    places = torch.linspace(0, x.numel() - 1, max(len(far), 1)).long().tolist()
    with torch.no_grad():
        for c, place in zip(far, places, strict=False):
            x[np.unravel_index(place, tuple(x.shape))] = c
    return Variation(f"values around the bounds in {name}", made) if far else Variation("", ())


def _choice(x: Tensor) -> bool:
    """Labels, one-hot rows and shares of one: other numbers would be none."""
    x = x.detach()
    if bool(((x == 0) | (x.abs() == 1)).all()):
        return True
    one = torch.ones((), dtype=x.dtype, device=x.device)
    return x.dim() > 0 and bool((x >= 0).all()) and torch.allclose(x.sum(-1), one)


def _row(x: Tensor) -> list[tuple[int, ...]]:
    """The elements of one row in the middle of the tensor."""
    if x.dim() == 0:
        return [()]
    lead = tuple(n // 2 for n in x.shape[:-1])
    return [(*lead, i) for i in range(x.shape[-1])]


def _put(
    target: Target, inputs: tuple, leaf: int, name: str, elements: list, value: float, what: str
) -> Variation:
    made = copies(inputs)
    x = target.leaves(made)[leaf][1]
    if x is target.leaves(inputs)[leaf][1]:  # held by the function itself: not ours to change
        return Variation("", ())
    mirror = symmetric(x)
    with torch.no_grad():
        for element in elements:
            x[element] = value
        if mirror:  # what reads one triangle has its gradient defined on symmetric matrices
            x.copy_(x.tril() + x.tril(-1).mT.conj())
            return Variation(f"{what} in {name}", made)
    mask = torch.zeros(x.shape, dtype=torch.bool)
    for element in elements:
        mask[element] = True
    special = tuple((leaf, element) for element in elements)
    return Variation(f"{what} in {name}", made, special, {leaf: mask})


def _tied(target: Target, inputs: tuple, leaf: int, name: str, row: list) -> Variation:
    """Two elements of a row equal, both its largest."""
    made = copies(inputs)
    x = target.leaves(made)[leaf][1]
    if x is target.leaves(inputs)[leaf][1] or symmetric(x):
        return Variation("", ())
    with torch.no_grad():
        top = max(x[e].item() for e in row)
        x[row[0]] = top
        x[row[-1]] = top
    mask = x.detach() == top  # the largest itself is one of them
    tied = tuple((leaf, tuple(int(i) for i in e)) for e in mask.nonzero())
    return Variation(f"a tie for the largest in {name}", made, tied, {leaf: mask})


def magnitudes(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """Each input larger, smaller, of the other sign; far out only a finite gradient is asked for."""
    for factor, word in (
        (30.0, "30 times larger"),
        (1e-3, "1000 times smaller"),
        (-1.0, "of the other sign"),
        (0.0, "far out, to 1000 and beyond"),
    ):
        for n, x in enumerate(inputs):
            if isinstance(x, Tensor) and x.requires_grad:
                made = copies(inputs)
                with torch.no_grad():
                    made[n].mul_(factor or _to(FAR, x.detach()))
                yield Variation(f"input {n} {word}", made, finite=not factor)


def _to(far: float, x: Tensor) -> float:
    """The factor that takes x beyond `far` on both sides, where it has two: exp overflows on one only."""
    values = dense(x).abs() if x.is_complex() else dense(x)
    sides = [s for s in (float(values.max()), float(-values.min())) if s > 0] if x.numel() else []
    return far * min(1e2, max(1.0, 1 / min(sides))) if sides else far
