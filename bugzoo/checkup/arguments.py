"""The same call another way: layouts, indices, broadcasts, one tensor twice, modes, flags."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bugzoo.checkup.target import Rejected, Target, copies, weight
from bugzoo.checkup.variation import Variation, ascends, shapes_of

SMALL = 1000  # numbers in the inputs given, for which integers are varied at that size too
SHARE = 0.25  # for a 0.0: a probability, a weight or a slope that switches a branch off
REDUCTIONS = ("none", "sum", "mean")


def layouts(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """The same values in other memory orders: one input at a time, then all."""

    def relaid(x: Any, how: str) -> Any:
        if not isinstance(x, Tensor) or x.layout != torch.strided or x.dim() == 0:
            return x
        t = x.detach()
        if how == "transposed":
            if t.dim() < 2:
                return x
            t = t.mT.contiguous().mT
        elif how == "sliced":
            t = torch.stack([t, torch.zeros_like(t)], -1)[..., 0]
        else:
            t = torch.cat([t.new_zeros(1), t.reshape(-1)])[1:].reshape(t.shape)
        return t.requires_grad_(x.requires_grad)

    for how in ("transposed", "sliced", "further on"):
        changed = [n for n, x in enumerate(inputs) if relaid(x, how) is not x]
        for some in [changed, *([[n] for n in changed] if len(changed) > 1 else [])]:
            if some:
                made = tuple(
                    relaid(x, how) if n in some else x for n, x in enumerate(copies(inputs))
                )
                which = "all inputs" if some == changed else f"input {some[0]}"
                yield Variation(f"{which} {how} in memory", made)


def indices(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """Integers repeated, and all equal: contributions must add up."""
    for n, x in enumerate(inputs):
        if (
            isinstance(x, Tensor)
            and not x.is_floating_point()
            and not x.is_complex()
            and x.numel() > 1
        ):
            if x.dtype == torch.bool:
                for value, word in ((True, "all true"), (False, "all false")):
                    made = list(copies(inputs))
                    made[n] = torch.full_like(x, value)
                    yield Variation(f"input {n} {word}", tuple(made))
                continue
            flat = x.reshape(-1)
            ordered = x.dim() == 1 and ascends(x)  # where rows begin, say: stays in order
            repeated = flat.clone()
            repeated[1::2] = flat[0]
            repeated = repeated.sort().values if ordered else repeated
            ignored = flat.clone()
            ignored[-1] = -100  # what losses leave out by convention
            for values, word in (
                (repeated, "with repeats"),
                (flat[:1].expand(flat.shape), "all equal"),
                (ignored, "with one -100"),
                *_emptied(inputs, n),
            ):
                made = list(copies(inputs))
                made[n] = values.clone().reshape(x.shape)
                doubtful = ordered and "-100" in word and _bounds(flat, inputs)
                yield Variation(f"input {n} {word}", tuple(made), doubtful=doubtful)


def _bounds(x: Tensor, inputs: tuple[Any, ...]) -> bool:
    """Do these numbers cut another input into pieces, as offsets do?"""
    others = [t for t in inputs if isinstance(t, Tensor) and t.dim() > 0]
    indices = any(not t.is_floating_point() and len(t) > len(x) for t in others)
    return indices or any(int(x[-1]) == len(t) for t in others)


def _emptied(inputs: tuple[Any, ...], n: int) -> Iterator[tuple[Tensor, str]]:
    """Counts that sum to a size of another input, one of them 0: a group may be empty."""
    counts = inputs[n]
    sizes = {s for m, x in enumerate(inputs) if isinstance(x, Tensor) and m != n for s in x.shape}
    if counts.dim() == 1 and bool((counts > 0).all()) and int(counts.sum()) in sizes:
        for empty, word in (
            (len(counts) // 2, "with a group emptied"),
            (-1, "with the last emptied"),
        ):
            made = counts.clone()
            made[empty - 1] += made[empty]
            made[empty] = 0
            yield made, word


def broadcast(target: Target, inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """An axis of one input becomes 1, or a leading axis goes, where the result keeps its shape.

    Only elementwise operations are meant to broadcast. Others happen to accept it, and native code
    may read past the end of such inputs.
    """
    floats = [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.is_floating_point()]
    if len(floats) < 2 or any(inputs[n].layout != torch.strided for n in floats):
        return
    shapes = shapes_of(target, inputs)
    if not _elementwise(target, inputs, floats):
        return
    for n in floats:
        x = inputs[n]
        cuts = [(axis, x.narrow(axis, 0, 1)) for axis in range(x.dim()) if x.shape[axis] > 1]
        if x.dim() > 0 and x.shape[0] > 0:
            cuts.append((-1, x[0]))
        for axis, smaller in cuts:
            made = list(copies(inputs))
            made[n] = smaller.detach().clone().requires_grad_(x.requires_grad)
            whole = torch.broadcast_shapes(*(made[m].shape for m in floats))
            if [whole] == shapes and shapes_of(target, tuple(made)) == shapes:
                word = "without its first axis" if axis < 0 else f"broadcast over axis {axis}"
                yield Variation(f"input {n} {word}", tuple(made))


def _elementwise(target: Target, inputs: tuple[Any, ...], floats: list[int]) -> bool:
    """One element of an input moves only the elements of the result that broadcasting gives it to."""
    y = target.plain(inputs)
    if len(y) != 1 or any(not inputs[n].numel() for n in floats):
        return False
    try:
        if y[0].shape != torch.broadcast_shapes(*(inputs[n].shape for n in floats)):
            return False
    except RuntimeError:
        return False
    for n in floats:
        made = copies(inputs)
        mark = torch.zeros_like(made[n].detach())
        place = tuple(size // 2 for size in mark.shape)
        mark[place] = 1.0
        with torch.no_grad():
            made[n].add_(0.37 * mark)
        now = target.plain(made)
        reach = mark.expand_as(y[0]) != 0
        if len(now) != 1 or now[0].shape != y[0].shape or bool(((now[0] != y[0]) & ~reach).any()):
            return False
    return True


def aliases(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """The same tensor in two slots: both contributions belong to it. Or the same values in both."""
    leaves = [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    modules = any(isinstance(x, nn.Module | list | tuple) for x in inputs)
    for a, b in itertools.combinations(leaves, 2):
        if inputs[a].dtype != inputs[b].dtype or inputs[a].dim() != inputs[b].dim():
            continue
        if inputs[a].shape == inputs[b].shape:
            made = list(copies(inputs))
            made[b] = made[a]
            yield Variation(f"the same tensor as input {a} and input {b}", tuple(made))
        elif not modules and inputs[a].dim() > 1 and inputs[a].shape[1:] == inputs[b].shape[1:]:
            made = list(copies(inputs))
            rows = min(len(inputs[a]), len(inputs[b]))
            with torch.no_grad():
                made[b][:rows] = made[a][:rows]
            still = {
                n: torch.ones(inputs[slot].shape, dtype=torch.bool)
                for n, slot in enumerate(leaves)
                if slot in (a, b)
            }
            yield Variation(f"rows of input {a} in input {b}", tuple(made), frozen=still)


def modes(target: Target, inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """Modules in the other mode; put back when the caller asks for the next variation."""
    modules = [m for m in (target.fn, *inputs) if isinstance(m, nn.Module)]
    for module in modules:
        before = module.training
        module.train(not before)
        try:
            yield Variation(f"module in {'eval' if before else 'train'} mode", copies(inputs))
        finally:
            module.train(before)


def integers(inputs: tuple[Any, ...], given: tuple[Any, ...]) -> Iterator[Variation]:
    """Integers one more and one less at the size given: where windows overlap may show only there."""
    if weight(inputs) < weight(given) <= SMALL:
        for n, x in enumerate(given):
            for other in _near(x) if type(x) is int else ():
                made = list(copies(given))
                made[n] = other
                yield Variation(f"input {n} = {other!r} at the size given", tuple(made))


def _near(x: int) -> list[int]:
    return [x + 1, *([x - 1] if x > 0 else [])]


def _repeats(target: Target, inputs: tuple[Any, ...]) -> bool:
    """The forward takes these inputs and gives the same twice from one seed."""
    try:
        return all(map(torch.equal, target.plain(inputs), target.plain(inputs)))
    except Rejected:
        return False


def numbers(
    target: Target, inputs: tuple[Any, ...], known: Sequence[str] = ()
) -> Iterator[Variation]:
    """Flags the other way, integers one more and one less, floats twice and no longer 0, the other
    reductions and words `known`."""
    for n, x in enumerate(inputs):
        others: list[Any] = []
        if isinstance(x, bool):
            others = [not x]
        elif isinstance(x, int):
            others = _near(x)
        elif isinstance(x, float):
            others = [2 * x or SHARE]
        elif isinstance(x, str):
            choice = dict.fromkeys([*(REDUCTIONS if x in REDUCTIONS else ()), *known])
            others = [word for word in choice if word != x]
        for other in others:
            made = list(copies(inputs))
            made[n] = other
            # A 0.0 may have kept random numbers out, which no seed need fix.
            if x or not isinstance(x, float) or _repeats(target, tuple(made)):
                yield Variation(f"input {n} = {other!r}", tuple(made))
