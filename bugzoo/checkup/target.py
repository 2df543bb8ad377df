"""The function under examination: runs it seeded, lists its leaves, counts the passes.

Leaves are the differentiable tensors among the inputs, the parameters of modules among them and of
the function itself, and tensors that the function holds in its closure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bugzoo.errors import named

SEED = 20_210_503
OFFSET = 64  # numbers before the first of a copied tensor, at most: as if cut from a larger one


class Rejected(Exception):
    """The forward does not accept these inputs, or gives nothing to differentiate."""


class _Buffer:
    """A buffer and what it held at first."""

    def __init__(self, b: Tensor):
        self.tensor, self.first, self.version = b, b.detach().clone(), b._version

    def restore(self) -> None:
        """Where it was written into, in a way that torch counts."""
        if self.tensor._version != self.version:
            with torch.no_grad():
                self.tensor.copy_(self.first)
            self.version = self.tensor._version


@dataclass
class Target:
    """`fn` and the passes spent on it. Every forward runs from the same random seed."""

    fn: Callable[..., Any]
    forwards: int = 0
    backwards: int = 0
    seed: int = SEED
    eps: float = 0.0  # of the narrowest output seen so far
    largest: float = 0.0  # absolute value in the last outputs
    marked: bool = True  # the caller said which inputs require grad
    others: bool = True  # the function draws from NumPy or Python: looked up in its first call
    whole: int = 0  # numbers in the inputs given; 0 while they are not known
    large: int = 0  # passes spent on inputs of that size or more
    last: list[Tensor | None] = field(default_factory=list)  # gradients handed out last
    held: list[tuple[str, Tensor]] = field(default_factory=list)

    padding: dict[str, int] = field(
        default_factory=dict
    )  # leaf -> row without a gradient, by contract
    buffers: list[_Buffer] = field(
        default_factory=list
    )  # of modules: each call starts from the same

    def __post_init__(self) -> None:
        self.held = list(_held(self.fn))

    def start_from(self, inputs: tuple[Any, ...]) -> None:
        """Buffers and frozen parameters are as they are now before every forward: one that it writes would
        be its memory."""
        modules = dict.fromkeys(_modules(self.fn, inputs))
        self.buffers = [_Buffer(b) for top in modules for b in (*top.buffers(), *_frozen(top))]

    def leaves(self, inputs: tuple[Any, ...]) -> list[tuple[str, Tensor]]:
        """Names and tensors that require grad, each once: inputs first, then what the function holds."""
        found: list[tuple[str, Tensor]] = []
        for n, x in enumerate(inputs):
            if isinstance(x, Tensor):
                found.append((f"input {n}", x))
            elif isinstance(x, nn.Module):
                found += [(f"input {n}, {name}", p) for name, p in x.named_parameters()]
            elif isinstance(x, list | tuple):
                found += [(f"input {n}[{m}]", t) for m, t in enumerate(x) if isinstance(t, Tensor)]
        seen: set[int] = set()
        kept = []
        for name, x in [*found, *self.held]:
            if x.requires_grad and id(x) not in seen:
                seen.add(id(x))
                kept.append((name, x))
        return kept

    def forward(self, inputs: tuple[Any, ...], seed: int | None = None) -> tuple[Tensor, ...]:
        """The floating outputs. Raises Rejected when the function raises or returns none."""
        self.forwards += 1
        self.large += self.whole <= weight(inputs)
        for buffer in self.buffers:
            buffer.restore()
        with seeded(self.seed if seed is None else seed, self.others):
            before = _drawn() if self.forwards == 1 else None
            try:
                out = self.fn(*inputs)
                if before is not None:
                    self.others = before != _drawn()
            except Exception as error:
                raise Rejected(named(error)) from error
        found = outputs(out)
        self.largest = max([0.0, *(_largest(y) for y in found)])
        self.eps = max([self.eps, *(torch.finfo(y.dtype).eps for y in found)])
        return found

    def plain(self, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """The outputs without a graph, copied: an output may be a view of an input that moves."""
        with torch.no_grad():
            return tuple(y.detach().clone() for y in self.forward(inputs))

    def vjp(
        self,
        inputs: tuple[Any, ...],
        g: tuple[Tensor | None, ...],
        y: tuple[Tensor, ...] | None = None,
        **options: Any,
    ) -> list[Tensor | None]:
        """Gradients of the leaves under the cotangents `g` (None: that output is not used)."""
        wrt = [x for _, x in self.leaves(inputs)]
        y = self.forward(inputs) if y is None else y
        pairs = [(a, b) for a, b in zip(y, g, strict=True) if b is not None and a.requires_grad]
        if not pairs:
            return [None for _ in wrt]
        self.backwards += 1
        self.large += self.whole <= weight(inputs)
        ys, gs = zip(*pairs, strict=True)
        with seeded(self.seed + 1, self.others):
            try:
                self.last = list(torch.autograd.grad(ys, wrt, gs, allow_unused=True, **options))
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                self.last = _accumulated(ys, wrt, gs, bool(options.get("retain_graph")))
        return self.last


def _accumulated(ys: tuple, wrt: list[Tensor], gs: tuple, keep: bool) -> list[Tensor | None]:
    """Gradients by way of .grad, for a reentrant checkpoint, which refuses autograd.grad."""
    before = [x.grad for x in wrt]
    try:
        for x in wrt:
            x.grad = None
        torch.autograd.backward(ys, gs, retain_graph=keep)
        return [x.grad for x in wrt]
    finally:
        for x, old in zip(wrt, before, strict=True):
            x.grad = old


def outputs(out: Any) -> tuple[Tensor, ...]:
    """The floating or complex tensors of an output, nested tuples, lists and dicts opened."""
    if isinstance(out, Tensor):
        return (out,) if out.is_floating_point() or out.is_complex() else ()
    if isinstance(out, Mapping):
        out = list(out.values())
    elif is_dataclass(out) and not isinstance(out, type):
        out = [getattr(out, f.name) for f in fields(out)]
    if isinstance(out, tuple | list):
        return tuple(y for part in out for y in outputs(part))
    return ()


def _drawn() -> tuple[Any, ...]:
    """Where the generators of NumPy and Python stand."""
    _, keys, place, *_ = np.random.get_state(legacy=True)
    return np.asarray(keys).tobytes(), place, random.getstate()


def _largest(y: Tensor) -> float:
    y = dense(y.detach())
    return float(y.abs().nan_to_num(0.0, 0.0, 0.0).max()) if y.numel() else 0.0


def weight(inputs: tuple[Any, ...]) -> int:
    """How many numbers the tensors among the inputs hold."""
    return sum(x.numel() for x in flat(inputs) if isinstance(x, Tensor))


def flat(inputs: tuple[Any, ...]) -> list[Any]:
    """The inputs, with lists and tuples of tensors opened."""
    return [t for x in inputs for t in (x if isinstance(x, list | tuple) else [x])]


def dense(t: Tensor) -> Tensor:
    return t.to_dense() if t.layout != torch.strided else t


def copies(inputs: tuple[Any, ...], dtype: torch.dtype | None = None) -> tuple[Any, ...]:
    """The inputs as fresh leaves, laid out in memory as they are; floating ones in `dtype` where given."""
    made: dict[int, Any] = {}
    return tuple(_once(x, dtype, made) for x in inputs)


def _once(x: Any, dtype: torch.dtype | None, made: dict[int, Any]) -> Any:
    """A copy of x, the same one for the same tensor; no closure: one that calls itself is a cycle, and
    would keep the copies until the garbage collector runs."""
    if isinstance(x, list | tuple):
        return type(x)(_once(t, dtype, made) for t in x) if not hasattr(x, "_fields") else x
    if not isinstance(x, Tensor):
        return x
    if id(x) not in made:
        made[id(x)] = _copy(x, dtype).requires_grad_(x.requires_grad)
    return made[id(x)]


def _copy(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    x = x.detach()
    if dtype is not None and x.is_floating_point():
        x = x.to(dtype)
    elif dtype is not None and x.is_complex():
        x = x.to(dtype.to_complex())
    if x.layout != torch.strided:
        return x.detach().clone()
    dense_like = x.is_contiguous() or not _overlaps(x)
    if not dense_like:
        return x.clone()
    before = min(x.storage_offset(), OFFSET)
    extent = (
        1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True)) if x.numel() else 0
    )
    fresh = torch.zeros(before + max(extent, 0), dtype=x.dtype, device=x.device)
    fresh = fresh.as_strided(x.shape, x.stride(), before)
    fresh.copy_(x)
    return fresh.detach()


def _overlaps(x: Tensor) -> bool:
    pairs = sorted((s, n) for n, s in zip(x.shape, x.stride(), strict=True) if n > 1)
    reach = 0
    for stride, size in pairs:
        if stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


@contextmanager
def seeded(seed: int, others: bool = True) -> Iterator[None]:
    """The random state of torch, and of NumPy and Python, set for the block, then put back."""
    state = torch.random.get_rng_state()
    torch.random.default_generator.manual_seed(seed)
    if others:
        numbers, plain = np.random.get_state(), random.getstate()
        np.random.seed(seed)
        random.seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
        if others:
            np.random.set_state(numbers)
            random.setstate(plain)


@contextmanager
def put_back(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Whatever the block writes into these leaves, they hold afterwards what they held, bit by bit."""
    before = [(x, x.detach().clone()) for x in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for x, old in before:
                x.copy_(old)


@contextmanager
def untouched(fn: Any, inputs: tuple[Any, ...]) -> Iterator[None]:
    """Buffers and modes of the modules that take part are put back: a check is no training."""
    modules = list(dict.fromkeys(_modules(fn, inputs)))
    modes = [(m, m.training) for top in modules for m in top.modules()]
    buffers = [
        (m, name, b, b.detach().clone())
        for top in modules
        for m in top.modules()
        for name, b in m._buffers.items()
        if b is not None
    ]
    frozen = [(p, p.detach().clone()) for top in modules for p in _frozen(top)]
    learning: list[Tensor] = [p for top in modules for p in top.parameters()]
    grads = [(x, x.grad) for x in [*learning, *(x for _, x in _held(fn))]]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, b, old in buffers:
                module._buffers[name] = b  # where another was put into its place
                b.copy_(old)
            for p, old in frozen:
                p.copy_(old)
        for p, grad in grads:
            p.grad = grad


def _frozen(module: nn.Module) -> list[Tensor]:
    return [p for p in module.parameters() if not p.requires_grad]


def _modules(fn: Any, inputs: tuple[Any, ...]) -> Iterator[nn.Module]:
    owner = fn if isinstance(fn, nn.Module) else getattr(fn, "__self__", None)
    for thing in (owner, *dict(_captured(fn)).values(), *inputs):
        if isinstance(thing, nn.Module):
            yield thing
    if hasattr(fn, "func"):  # functools.partial
        yield from _modules(fn.func, ())


def _captured(fn: Any) -> Iterator[tuple[str, Any]]:
    """What a function uses from outside: the cells of its closure, and globals by name."""
    code = getattr(fn, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(fn, "__closure__", None) or (), strict=False
    ):
        with suppress(ValueError):
            yield name, cell.cell_contents
    space = getattr(fn, "__globals__", {})
    for name in getattr(code, "co_names", ()):
        if isinstance(space.get(name), Tensor | nn.Module):
            yield name, space[name]


def _held(fn: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and leaves that the function itself holds: a module's, a bound method's, a closure's."""
    owner = fn if isinstance(fn, nn.Module) else getattr(fn, "__self__", None)
    if isinstance(owner, nn.Module):
        yield from owner.named_parameters()
    inner = getattr(fn, "func", None)  # functools.partial
    if inner is not None:
        yield from _held(inner)
        named: list[tuple[Any, Any]] = [
            *enumerate(fn.args),
            *fn.keywords.items(),
        ]  # by place, by name
        yield from _leaves((f"argument {name}", value) for name, value in named)
    yield from _leaves(_captured(fn))


def _leaves(things: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    for name, value in things:
        if isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
            yield name, value
        elif isinstance(value, nn.Module):
            yield from ((f"{name}.{n}", p) for n, p in value.named_parameters())
        elif isinstance(value, list | tuple | dict):
            pairs: Iterable[tuple[Any, Any]] = (
                value.items() if isinstance(value, dict) else enumerate(value)
            )
            yield from _leaves(
                (f"{name}[{n}]", v) for n, v in pairs if isinstance(v, Tensor | nn.Module)
            )
