"""The inputs that show bugs, derived from the inputs that are given.

Whoever writes an example writes a generic one: square or tall, no zeros, no ties, contiguous. Here
the same example becomes the batch of one, the odd size, the row of zeros, the repeated index, the
transposed view. What the forward does not accept is left out by the caller, never blamed.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bugzoo.checkup.target import Rejected, Target, copies, dense

MOST = 24  # ways to split linked sizes that are tried


@dataclass(frozen=True)
class Variation:
    """Inputs under a name; `special` are (leaf, element) pairs that lie on a possible kink."""

    name: str
    inputs: tuple[Any, ...]
    special: tuple[tuple[int, tuple[int, ...]], ...] = ()
    frozen: dict[int, Tensor] = field(default_factory=dict)
    doubtful: bool = False  # the author may never have meant such inputs: what it shows is a note


def small(
    target: Target, inputs: tuple[Any, ...], gen: Generator, most: int = 5
) -> tuple[Any, ...]:
    """A small version of large inputs that the forward still accepts; the inputs where none is."""
    current = inputs
    for size in sorted(_sizes(inputs), reverse=True):
        if size <= most:
            continue
        for wanted in (most, most + 1, size // 2):
            if wanted >= size:
                continue
            tried = _resized(current, {size: wanted}, gen)
            if accepts(target, tried):
                current = tried
                break
    return current


def derive(target: Target, inputs: tuple[Any, ...], gen: Generator) -> Iterator[Variation]:
    """All variations of `inputs`, the most telling first. Lazy: the caller stops when time is up."""
    literals = constants(target.fn)
    makers: list[Callable[[], Iterator[Variation]]] = [
        lambda: _special_values(target, inputs, gen, literals),
        lambda: _other_sizes(target, inputs, gen, literals),
        lambda: _layouts(inputs),
        lambda: _magnitudes(target, inputs),
        lambda: _indices(inputs, gen),
        lambda: _broadcast(target, inputs, gen),
        lambda: _aliases(inputs),
        lambda: _modes(target, inputs),
        lambda: _flags(inputs),
    ]
    for turn in itertools.zip_longest(*(make() for make in makers)):
        yield from (v for v in turn if v is not None)


def accepts(target: Target, inputs: tuple[Any, ...]) -> bool:
    """The forward takes these inputs and gives finite, differentiable numbers."""
    try:
        y = target.forward(inputs)
    except Rejected:
        return False
    return any(t.requires_grad for t in y) and all(
        t.numel() > 0 and bool(dense(t.detach()).isfinite().all()) for t in y
    )


def constants(fn: Any) -> list[float]:
    """Numbers written in the function's own code: bounds, thresholds and block sizes are among them."""
    found: set[float] = set()
    for part in _code_of(fn):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        except (OSError, TypeError, SyntaxError, IndentationError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
                if isinstance(node.operand, ast.Constant):
                    found |= {-c for c in _number(node.operand)}
            elif isinstance(node, ast.Constant):
                found |= _number(node)
    return sorted((c for c in found if abs(c) < 1e4), key=lambda c: (abs(c), c))


def _number(node: ast.Constant) -> set[float]:
    return {float(node.value)} if type(node.value) in (int, float) else set()  # type: ignore[arg-type]


def _code_of(fn: Any) -> Iterator[Any]:
    """The function, the autograd.Function behind an `apply`, and Functions that its globals name."""
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, type):
        yield owner
    elif isinstance(fn, nn.Module):
        yield type(fn)
    elif isinstance(owner, nn.Module):
        yield type(owner)
    if hasattr(fn, "__code__"):
        yield fn
        names = fn.__code__.co_names
        spaces = {**getattr(fn, "__globals__", {})}
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            try:
                spaces[name] = cell.cell_contents
            except ValueError:
                continue
        for name in (*names, *fn.__code__.co_freevars):
            thing = spaces.get(name)
            ours = inspect.isfunction(thing) and not thing.__module__.startswith("torch")
            if ours or (isinstance(thing, type) and issubclass(thing, torch.autograd.Function)):
                yield thing


def _sizes(inputs: tuple[Any, ...]) -> set[int]:
    return {n for x in inputs if isinstance(x, Tensor) for n in x.shape}


def _resized(
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
        return first.reshape(shape)
    share = torch.rand(count, generator=gen, dtype=torch.float64).to(x.dtype)
    second = values[torch.randint(len(values), (count,), generator=gen)]
    mixed = (share * first + (1 - share) * second).reshape(shape)
    if not shares:
        return _jittered(mixed, gen) if count > len(values) else mixed
    if bool(((x == 0) | (x == 1)).all()):
        return torch.nn.functional.one_hot(mixed.argmax(-1), shape[-1]).to(x.dtype)
    return mixed / mixed.sum(-1, keepdim=True)


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


def _other_sizes(
    target: Target, inputs: tuple[Any, ...], gen: Generator, literals: list[float]
) -> Iterator[Variation]:
    sizes = sorted(_sizes(inputs))
    for size in sizes:
        for wanted in (1, size + 1, 7 if size != 7 else 11, 2 * size, 2 * size + 1):
            if wanted != size:
                yield _sized(target, inputs, {size: wanted}, gen, f"size {size} -> {wanted}")
    blocks = [int(c) for c in literals if c == int(c) and 3 <= c <= 300]
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
                tried = _resized(inputs, {size: size + 2}, gen, set(some))
                # An axis that grows alone must show in the result, else the forward just ignores it.
                if size > 1 and _shapes_of(target, tried) not in (None, _shapes_of(target, inputs)):
                    yield Variation(f"size {size} -> {size + 2} on some axes", tried)
    # Sizes that differ, made equal: a transposed product is silent only where it is square.
    for a, b in itertools.combinations(sizes, 2):
        yield _sized(target, inputs, {b: a}, gen, f"size {b} -> {a}, square")
    if len(sizes) > 2:
        yield _sized(target, inputs, dict.fromkeys(sizes, 4), gen, "all sizes equal")


def _sized(
    target: Target, inputs: tuple[Any, ...], sizes: dict[int, int], gen: Generator, name: str
) -> Variation:
    """Other sizes; doubtful where an even one became odd and the result follows no plain rule.

    What is cut into halves is even. The forward may accept an odd size all the same, by broadcasting.
    """
    made = _resized(inputs, sizes, gen)
    if not any(old % 2 == 0 and new % 2 for old, new in sizes.items()):
        return Variation(name, made)
    before, after = _shapes_of(target, inputs) or [], _shapes_of(target, made) or []
    plain = [len(s) for s in before] == [len(s) for s in after] and all(
        a == b or any(b * old == a * new or b - a == new - old for old, new in sizes.items())
        for s, t in zip(before, after, strict=True)
        for a, b in zip(s, t, strict=True)
    )
    return Variation(name, made, doubtful=not plain)


def _special_values(
    target: Target, inputs: tuple[Any, ...], gen: Generator, literals: list[float]
) -> Iterator[Variation]:
    """Zeros, ties, and the bounds that the code itself names, put into single elements."""
    bounds = [c for c in literals if c != 0][:6] or [1.0, -1.0]
    leaves = target.leaves(inputs)[:4]
    for number, (name, x) in enumerate(leaves):
        if x.numel() == 0 or not x.is_floating_point() or x.layout != torch.strided:
            continue
        row = _row(x)
        yield _put(target, inputs, number, name, row[:1], 0.0, "one zero")
        if len(row) > 1:
            yield _put(target, inputs, number, name, row[:2], 0.0, "two zeros")
            yield _tied(target, inputs, number, name, row)
        if len(row) > 2:
            yield _put(target, inputs, number, name, row, 0.0, "a row of zeros")
        for c in bounds:
            yield _put(target, inputs, number, name, row[:1], c, f"one element = {c:g}")


def _shapes_of(target: Target, inputs: tuple[Any, ...]) -> list[torch.Size] | None:
    try:
        return [y.shape for y in target.plain(inputs)]
    except Rejected:
        return None


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
    with torch.no_grad():
        for element in elements:
            x[element] = value
    mask = torch.zeros(x.shape, dtype=torch.bool)
    for element in elements:
        mask[element] = True
    special = tuple((leaf, element) for element in elements)
    return Variation(f"{what} in {name}", made, special, {leaf: mask})


def _tied(target: Target, inputs: tuple, leaf: int, name: str, row: list) -> Variation:
    """Two elements of a row equal, both its largest."""
    made = copies(inputs)
    x = target.leaves(made)[leaf][1]
    if x is target.leaves(inputs)[leaf][1]:
        return Variation("", ())
    with torch.no_grad():
        top = max(x[e].item() for e in row)
        x[row[0]] = top
        x[row[-1]] = top
    mask = x.detach() == top  # the largest itself is one of them
    tied = tuple((leaf, tuple(int(i) for i in e)) for e in mask.nonzero())
    return Variation(f"a tie for the largest in {name}", made, tied, {leaf: mask})


def _layouts(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """The same values in other memory orders: one input at a time, then all."""

    def relaid(x: Any, how: str) -> Any:
        if not isinstance(x, Tensor) or x.layout != torch.strided or x.dim() == 0:
            return x
        t = x.detach()
        if how == "transposed":
            if t.dim() < 2:
                return x
            t = t.mT.contiguous().mT
        else:
            t = torch.stack([t, torch.zeros_like(t)], -1)[..., 0]
        return t.requires_grad_(x.requires_grad)

    for how in ("transposed", "sliced"):
        changed = [n for n, x in enumerate(inputs) if relaid(x, how) is not x]
        for some in [changed, *([[n] for n in changed] if len(changed) > 1 else [])]:
            if some:
                made = tuple(
                    relaid(x, how) if n in some else x for n, x in enumerate(copies(inputs))
                )
                which = "all inputs" if some == changed else f"input {some[0]}"
                yield Variation(f"{which} {how} in memory", made)


def _magnitudes(target: Target, inputs: tuple[Any, ...]) -> Iterator[Variation]:
    for factor, word in (
        (30.0, "30 times larger"),
        (1e-3, "1000 times smaller"),
        (-1.0, "of the other sign"),
    ):
        for n, x in enumerate(inputs):
            if isinstance(x, Tensor) and x.requires_grad:
                made = copies(inputs)
                with torch.no_grad():
                    made[n].mul_(factor)
                yield Variation(f"input {n} {word}", made)


def _indices(inputs: tuple[Any, ...], gen: Generator) -> Iterator[Variation]:
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
            repeated = flat.clone()
            repeated[1::2] = flat[0]
            for values, word in (
                (repeated, "with repeats"),
                (flat[:1].expand(flat.shape), "all equal"),
            ):
                made = list(copies(inputs))
                made[n] = values.clone().reshape(x.shape)
                yield Variation(f"input {n} {word}", tuple(made))


def _broadcast(target: Target, inputs: tuple[Any, ...], gen: Generator) -> Iterator[Variation]:
    """An axis of one input becomes 1, or a leading axis goes, where the result keeps its shape.

    Elementwise operations are meant to broadcast. Others happen to accept it.
    """
    floats = [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.is_floating_point()]
    if len(floats) < 2:
        return
    shapes = _shapes_of(target, inputs)
    elementwise = len({inputs[m].shape for m in floats}) == 1
    for n in floats:
        x = inputs[n]
        cuts = [(axis, x.narrow(axis, 0, 1)) for axis in range(x.dim()) if x.shape[axis] > 1]
        if x.dim() > 0 and x.shape[0] > 0:
            cuts.append((-1, x[0]))
        for axis, smaller in cuts:
            made = list(copies(inputs))
            made[n] = smaller.detach().clone().requires_grad_(x.requires_grad)
            if _shapes_of(target, tuple(made)) == shapes:
                word = "without its first axis" if axis < 0 else f"broadcast over axis {axis}"
                whole = (
                    torch.broadcast_shapes(*(inputs[m].shape for m in floats))
                    if elementwise
                    else None
                )
                yield Variation(f"input {n} {word}", tuple(made), doubtful=[whole] != shapes)


def _aliases(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """The same tensor in two slots: both contributions belong to it."""
    leaves = [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    for a, b in itertools.combinations(leaves, 2):
        if inputs[a].shape == inputs[b].shape and inputs[a].dtype == inputs[b].dtype:
            made = list(copies(inputs))
            made[b] = made[a]
            yield Variation(f"the same tensor as input {a} and input {b}", tuple(made))


def _modes(target: Target, inputs: tuple[Any, ...]) -> Iterator[Variation]:
    """Modules in the other mode; put back when the caller asks for the next variation."""
    modules = [m for m in (target.fn, *inputs) if isinstance(m, nn.Module)]
    for module in modules:
        before = module.training
        module.train(not before)
        try:
            yield Variation(f"module in {'eval' if before else 'train'} mode", copies(inputs))
        finally:
            module.train(before)


def _flags(inputs: tuple[Any, ...]) -> Iterator[Variation]:
    for n, x in enumerate(inputs):
        if isinstance(x, bool):
            made = list(copies(inputs))
            made[n] = not x
            yield Variation(f"input {n} = {not x}", tuple(made))
