"""Other sizes: one, odd, larger than a block, square and not, one axis more."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.direction import symmetric
from bugzoo.checkup.target import Rejected, Target, copies, dense
from bugzoo.checkup.variation import Variation, accepts, ascends, shapes_of

MOST = 24  # ways to split linked sizes that are tried
BEYOND = {130: 4_000, 1026: 16_000}  # size, and numbers in inputs or outputs at most


def small(
    target: Target, inputs: tuple[Any, ...], gen: Generator, most: int = 5
) -> tuple[Any, ...]:
    """A small version of large inputs that the forward still accepts; the inputs where none is."""
    current = inputs
    for size in sorted(all_sizes(inputs), reverse=True):
        if size <= most:
            continue
        for wanted in (most, most + 1, size // 2):
            if wanted >= size:
                continue
            tried = resized(current, {size: wanted}, gen)
            if accepts(target, tried):
                current = tried
                break
    return current


def other_sizes(
    target: Target, inputs: tuple[Any, ...], gen: Generator, literals: list[float]
) -> Iterator[Variation]:
    sizes = sorted(all_sizes(inputs))
    for size in sizes:
        for wanted in (1, size + 1, 7 if size != 7 else 11, 2 * size, 2 * size + 1):
            if wanted != size:
                yield _sized(target, inputs, {size: wanted}, gen, f"size {size} -> {wanted}")
    blocks = [int(c) for c in literals if c == int(c) and 3 <= c <= 1100]
    for block in blocks[:4]:
        for size in sizes:
            for wanted in (block - 1, block, block + 1, 2 * block + 1):
                if wanted not in sizes:
                    yield _sized(target, inputs, {size: wanted}, gen, f"size {size} -> {wanted}")
    # Sizes that are equal by chance: change some of the places, not all of them.
    for size in sizes:
        places = [
            (n, axis)
            for n, x in enumerate(inputs)
            if isinstance(x, Tensor)
            for axis, s in enumerate(x.shape)
            if s == size
        ]
        if 2 <= len(places) <= 8:
            subsets = itertools.chain.from_iterable(
                itertools.combinations(places, k) for k in range(1, len(places))
            )
            for some in itertools.islice(subsets, MOST):
                tried = resized(inputs, {size: size + 2}, gen, set(some))
                # An axis that grows alone must show in the result, by its shape or by every new slice
                # mattering, else the forward just ignores it; a single tensor has no other to disagree with.
                shapes, alone = shapes_of(target, tried), len({n for n, _ in places}) == 1
                alone = alone and sum(isinstance(x, Tensor) for x in inputs) == 1
                shown = shapes is not None and shapes != shapes_of(target, inputs)
                if size > 1 and shapes and (alone or shown or _matter(target, tried, some)):
                    yield Variation(f"size {size} -> {size + 2} on some axes", tried)
    # Sizes that differ, made equal: a transposed product is silent only where it is square.
    for a, b in itertools.combinations(sizes, 2):
        yield _sized(target, inputs, {b: a}, gen, f"size {b} -> {a}, square")
    if len(sizes) > 2:
        yield _sized(target, inputs, dict.fromkeys(sizes, 4), gen, "all sizes equal")


def _matter(target: Target, inputs: tuple[Any, ...], places: tuple[tuple[int, int], ...]) -> bool:
    """Does the result change with the last slice of each of these axes?"""
    try:
        before = target.plain(inputs)
        for n, axis in places:
            made = copies(inputs)
            if not made[n].is_floating_point() or made[n].layout != torch.strided:
                return False
            with torch.no_grad():
                made[n].select(axis, -1).add_(1.0)
            after = target.plain(made)
            if all(torch.equal(dense(a), dense(b)) for a, b in zip(before, after, strict=True)):
                return False
    except Rejected:
        return False
    return True


def large_sizes(target: Target, inputs: tuple[Any, ...], gen: Generator) -> Iterator[Variation]:
    """Past a likely block: 130 and 1026 leave 2 over for every power of two up to 128 and 1024."""
    for size in sorted(all_sizes(inputs)):
        for wanted, room in BEYOND.items():
            if size >= wanted or _weight(inputs, {size: wanted}) > room:
                break
            made = resized(inputs, {size: wanted}, gen)
            shapes = shapes_of(target, made)
            if shapes is None or sum(map(math.prod, shapes)) > room:
                break
            yield Variation(f"size {size} -> {wanted}", _spread(made, gen), large=True)


def _weight(inputs: tuple[Any, ...], sizes: dict[int, int]) -> int:
    """How many numbers there would be."""
    return sum(math.prod(sizes.get(s, s) for s in x.shape) for x in inputs if isinstance(x, Tensor))


def _spread(inputs: tuple[Any, ...], gen: Generator) -> tuple[Any, ...]:
    """Each value times exp(N(0, 1)): there is room for small and large ones, of the signs given."""
    with torch.no_grad():
        for x in inputs:
            if isinstance(x, Tensor) and x.requires_grad and x.is_floating_point():
                noise = torch.randn(x.shape, generator=gen, dtype=torch.float64)
                x.mul_(noise.exp().to(x))
    return inputs


def other_ranks(target: Target, inputs: tuple[Any, ...], gen: Generator) -> Iterator[Variation]:
    """One axis more in front, where the forward takes it for a batch: row by row the same result."""
    before = shapes_of(target, inputs) or []
    tensors = [
        n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.layout == torch.strided
    ]
    floats = [n for n in tensors if inputs[n].requires_grad and inputs[n].numel()]
    groups = [[n] for n in floats] + ([tensors] if len(tensors) > 1 else [])
    yield from _together(target, inputs, tensors, before, gen)
    for group in groups:
        which = f"input {group[0]}" if len(group) == 1 else "all inputs"
        made = _reshaped(inputs, group, gen, lambda s: (2, *s))
        after = shapes_of(target, made)
        grown = after and all((*a,) == (2, *b) for a, b in zip(after, before, strict=False))
        if grown and _row_by_row(target, made, group):
            # A weight that has a batch of its own may never have been meant; data may.
            yield Variation(
                f"{which} with an axis more in front", made, doubtful=group[0] != tensors[0]
            )


def _together(
    target: Target, inputs: tuple[Any, ...], tensors: list[int], before: list, gen: Generator
) -> Iterator[Variation]:
    """A loss of vectors takes matrices of the same numbers for the same: then all inputs become such."""
    shapes = {tuple(inputs[n].shape) for n in tensors}
    (shape,) = shapes if len(shapes) == 1 else ((),)
    if not before or any(before) or not shape or not math.prod(shape):
        return
    long = _reshaped(inputs, tensors, gen, lambda s: (2 * s[0], *s[1:]))
    made = copies(tuple(
        x.detach().reshape(2, *shape).requires_grad_(x.requires_grad) if n in tensors else x
        for n, x in enumerate(long)
    ))  # fmt: skip
    with suppress(Rejected):
        flat, square = target.plain(long), target.plain(made)
        if [y.shape for y in flat] == [y.shape for y in square] and all(
            torch.allclose(a, b, 1e-4, 1e-6) for a, b in zip(flat, square, strict=True)
        ):
            # Elsewhere the axes may have been meant to be just so many.
            yield Variation("all inputs as a matrix" if len(shape) == 1 else
                            "all inputs with an axis more", made, doubtful=len(shape) > 1)  # fmt: skip


def _row_by_row(target: Target, inputs: tuple[Any, ...], group: list[int]) -> bool:
    """f of two stacked inputs is the stack of f of each."""
    whole = target.plain(inputs)
    for row in range(2):
        one = target.plain(tuple(x[row] if n in group else x for n, x in enumerate(inputs)))
        if not all(torch.allclose(a[row], b, 1e-4, 1e-6) for a, b in zip(whole, one, strict=True)):
            return False
    return True


def _reshaped(
    inputs: tuple[Any, ...], group: list[int], gen: Generator, change: Callable[[tuple], tuple]
) -> tuple[Any, ...]:
    return copies(tuple(
        _like(x, change(tuple(x.shape)), gen).requires_grad_(x.requires_grad) if n in group else x
        for n, x in enumerate(inputs)
    ))  # fmt: skip


def _sized(
    target: Target, inputs: tuple[Any, ...], sizes: dict[int, int], gen: Generator, name: str
) -> Variation:
    """Other sizes; doubtful where an even one became odd and the result follows no plain rule.

    What is cut into halves is even. The forward may accept an odd size all the same, by broadcasting.
    """
    made = resized(inputs, sizes, gen)
    if not any(old % 2 == 0 and new % 2 for old, new in sizes.items()):
        return Variation(name, made)
    before, after = shapes_of(target, inputs) or [], shapes_of(target, made) or []
    plain = [len(s) for s in before] == [len(s) for s in after] and all(
        a == b or any(b * old == a * new or b - a == new - old for old, new in sizes.items())
        for s, t in zip(before, after, strict=True)
        for a, b in zip(s, t, strict=True)
    )
    return Variation(name, made, doubtful=not plain)


def all_sizes(inputs: tuple[Any, ...]) -> set[int]:
    return {n for x in inputs if isinstance(x, Tensor) for n in x.shape}


def resized(
    inputs: tuple[Any, ...],
    sizes: dict[int, int],
    gen: Generator,
    places: set[tuple[int, int]] | None = None,
) -> tuple[Any, ...]:
    """Every axis of a size in `sizes` gets the new size; `places` limits it to these (input, axis)."""
    made = []
    for n, x in enumerate(inputs):
        if not isinstance(x, Tensor) or x.layout != torch.strided:
            made.append(x)
            continue
        shape = tuple(
            sizes.get(s, s) if places is None or (n, axis) in places else s
            for axis, s in enumerate(x.shape)
        )
        resized = x if shape == tuple(x.shape) or not x.numel() else _like(x, shape, gen)
        made.append(resized if resized is x else resized.requires_grad_(x.requires_grad))
    return copies(tuple(made))


def _like(x: Tensor, shape: tuple[int, ...], gen: Generator) -> Tensor:
    """Values of the same kind in another shape.

    Rows stay whole where only leading axes change. Else floats are convex mixtures of two values and
    integers are drawn; rows that were probabilities, or one-hot, are so again.
    """
    x = x.detach()
    if not x.numel():
        return x.new_ones(shape)
    if symmetric(x) and shape[-1] == shape[-2]:
        return _blocks(x, shape)
    floating = x.is_floating_point() or x.is_complex()
    shares = x.dim() > 1 and x.is_floating_point() and bool((x >= 0).all())
    shares = shares and torch.allclose(x.sum(-1), torch.ones(x.shape[:-1], dtype=x.dtype))
    if x.dim() > 1 and shape[-1] == x.shape[-1]:
        rows = x.reshape(-1, x.shape[-1])
        pick = _draws(len(rows), _count(shape[:-1]), gen)
        made = rows[pick].reshape(shape)
        return _jittered(made, gen) if floating and not shares and len(pick) > len(rows) else made
    values = x.reshape(-1)
    count = _count(shape)
    first = values[_draws(len(values), count, gen)]
    if not floating:
        if x.dim() == 1 and ascends(x):  # where rows begin: offsets stay in order, from 0
            first = first.sort().values
            first[:1] = 0
        return first.reshape(shape)
    share = torch.rand(count, generator=gen, dtype=torch.float64).to(x.dtype)
    second = values[torch.randint(len(values), (count,), generator=gen)]
    mixed = (share * first + (1 - share) * second).reshape(shape)
    if not shares:
        return _jittered(mixed, gen) if count > len(values) else mixed
    if bool(((x == 0) | (x == 1)).all()):
        return torch.nn.functional.one_hot(mixed.argmax(-1), shape[-1]).to(x.dtype)
    return mixed / mixed.sum(-1, keepdim=True)


def _blocks(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A part of a symmetric matrix, or several of it along the diagonal: symmetric, and as definite."""
    n, lead = shape[-1], x.reshape(-1, *x.shape[-2:])
    rows = [torch.block_diag(*[m] * -(-n // m.shape[-1]))[:n, :n] for m in lead]
    pick = torch.arange(math.prod(shape[:-2])) % len(rows)
    return torch.stack(rows)[pick].reshape(shape)


def _jittered(x: Tensor, gen: Generator) -> Tensor:
    """Every value times exp(0.3 N(0, 1)): no two alike where values had to be used again."""
    noise = torch.randn(x.shape, generator=gen, dtype=torch.float64)
    return x * torch.exp(0.3 * noise).to(x.dtype)


def _draws(known: int, count: int, gen: Generator) -> Tensor:
    """Indices below `known`: each once while they last, in a random order, then at random."""
    once = torch.randperm(known, generator=gen)[:count]
    return torch.cat([once, torch.randint(known, (count - len(once),), generator=gen)])


def _count(shape: Sequence[int]) -> int:
    return math.prod(shape)
