"""One recorded call of a custom Function, made again on fresh leaves, and judged.

    d = grad of forward, run again as plain torch code under autograd
    s = (f(x + h u) - f(x - h u)) . g / 2h              u: along the disagreement, or random

The reference only says where to look; a finding needs the slope s on its side, with an error that
the difference quotients know themselves. Forwards that are no torch code have the slope alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.auditor import graph
from bugzoo.auditor.places import same
from bugzoo.checkup.direction import Slope, dot, randoms, slope
from bugzoo.checkup.target import Rejected, Target, outputs, seeded
from bugzoo.finding import Finding
from bugzoo.mismatch import compare

Grads = list[Tensor | None]


@dataclass(eq=False)
class Met:
    """One call: copies of what went in and came out, forward and backward."""

    cls: Any
    args: tuple[Any, ...]
    rng: Tensor
    line: str
    step: int
    out: tuple[Tensor, ...] = ()
    slots: tuple[int, ...] = ()  # places of the floating tensors among the outputs
    g: tuple[Tensor | None, ...] = ()
    dx: tuple[Tensor | None, ...] | None = None
    lent: str = ""  # what the backward wrote into, in words

    @property
    def name(self) -> str:
        return self.cls.__name__

    def inputs(self, dtype: torch.dtype | None = None) -> tuple[Any, ...]:
        """Fresh leaves with the recorded values."""

        def one(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            copy = x.clone(memory_format=torch.preserve_format)
            if dtype is not None and x.is_floating_point():
                copy = copy.to(dtype)
            return copy.requires_grad_(x.requires_grad)

        return tuple(map(one, self.args))


@dataclass
class Case:
    """A recorded call, made again on fresh leaves."""

    met: Met
    why: str = ""
    contract: bool = False  # a row is left out on purpose
    pure: bool = True  # no input but its arguments: it may be run as often as one likes
    target: Target = field(init=False)

    def __post_init__(self) -> None:
        self.target = Target(self._apply)

    def _apply(self, *args: Any) -> Any:
        torch.random.default_generator.set_state(self.met.rng)
        return self.met.cls.apply(*args)

    def repeats(self) -> bool:
        """The same inputs give the recorded outputs, twice."""
        for _ in range(2):
            try:
                again = self.target.plain(self.met.inputs())
            except Rejected as error:
                self.why = str(error)[:80]
                return False
            if len(again) != len(self.met.out) or not all(map(same, again, self.met.out)):
                self.why = "it gives something else the second time"
                return False
        for y in self.met.out:
            if not bool(y.isfinite().all()):
                self.why = "its output is not finite"
                return False
        self.pure = not any(callable(x) for x in self.met.args)
        return True

    def random_backward(self) -> bool:
        """The backward draws random numbers: two calls of it say nothing about one another."""
        found = []
        for seed in (0, 1):
            inputs = self.met.inputs()
            y = self.target.forward(inputs)
            with seeded(seed):
                pairs = [
                    (a, b)
                    for a, b in zip(y, self.met.g, strict=True)
                    if b is not None and a.requires_grad
                ]
                if not pairs:
                    return True
                ys, gs = zip(*pairs, strict=True)
                wrt = [inputs[n] for n in self.leaves]
                found.append(
                    torch.autograd.grad(ys, wrt, [b.clone() for b in gs], allow_unused=True)
                )
        self.target.backwards += 2
        return not all(
            (a is None and b is None) or (a is not None and b is not None and same(a, b))
            for a, b in zip(*found, strict=True)
        )

    @property
    def leaves(self) -> list[int]:
        return [n for n, x in enumerate(self.met.args) if isinstance(x, Tensor) and x.requires_grad]

    @property
    def yours(self) -> Grads:
        """What the run's backward gave, in the order of the leaves, summed to their shapes."""
        tensors = [n for n, x in enumerate(self.met.args) if isinstance(x, Tensor)]
        assert self.met.dx is not None
        given = dict(zip(tensors, self.met.dx, strict=False))
        found: Grads = []
        for n in self.leaves:
            d, x = given.get(n), self.met.args[n]
            if d is not None and d.shape != x.shape:
                d = d.sum_to_size(x.shape)
            found.append(d)
        return found

    def reference(self, dtype: torch.dtype | None = None) -> Grads | None:
        """Autograd of the forward as plain torch code; None where it is none."""
        cls, inputs = self.met.cls, self.met.inputs(dtype)
        args = list(inputs)
        wrt = [args[n] for n in self.leaves]
        for n in self.leaves:  # a leaf may not be written into; its copy may
            args[n] = args[n].clone()
        try:
            with seeded(0), torch.enable_grad():
                torch.random.default_generator.set_state(self.met.rng)
                split = (
                    cls.setup_context
                    is not torch.autograd.function._SingleLevelFunction.setup_context
                )
                raw = cls.forward(*args) if split else cls.forward(_Context(args), *args)
            found = outputs(raw)
            if len(found) != len(self.met.out) or not any(y.requires_grad for y in found):
                return None
            pairs = [
                (y, b.to(y.dtype))
                for y, b in zip(found, self.met.g, strict=False)
                if b is not None and y.requires_grad
            ]
            if not pairs:
                return None
            ys, gs = zip(*pairs, strict=True)
            return list(torch.autograd.grad(ys, wrt, gs, allow_unused=True))
        except Exception:
            return None

    def slope(self, u: Grads, shrink: float = 1.0) -> Slope:
        inputs = self.wide
        wide = [
            None if d is None else d.to(inputs[n].dtype)
            for d, n in zip(u, self.leaves, strict=True)
        ]
        return slope(self.target, inputs, wide, self.cotangents, shrink=shrink)

    @property
    def cotangents(self) -> list[Tensor | None]:
        return list(self.met.g)

    @property
    def wide(self) -> tuple[Any, ...]:
        """Fresh inputs, in float64 where the forward takes them and gives the same."""
        made = self.met.inputs(torch.float64)
        with suppress(Exception):
            got = self.target.plain(made)
            if all(
                torch.allclose(a.double(), b.double(), 1e-2, 1e-3)
                for a, b in zip(got, self.met.out, strict=True)
            ):
                return made
        return self.met.inputs()

    def intent(self, gen: Generator) -> str:
        """A forward that is flat, or that does nothing: its gradient is a choice, no derivative."""
        tensors = [self.met.args[n] for n in self.leaves]
        yours = self.yours
        for n, x in zip(self.leaves, tensors, strict=True):
            if (
                len(self.met.out) == 1
                and self.met.out[0].shape == x.shape
                and same(self.met.out[0], x.detach())
            ):
                moved = list(self.met.inputs())
                with torch.no_grad():
                    moved[n] = (-1.25 * moved[n] + 0.1).detach().requires_grad_()
                if same(self.target.plain(tuple(moved))[0], moved[n].detach()):
                    return "its forward is the identity: the backward is taken for intended"
        reference = self.reference()
        for n, x, d in zip(range(len(tensors)), tensors, yours, strict=True):
            if d is None or not bool((d != 0).any()):
                continue
            known = reference[n] if reference is not None else None
            if known is not None and bool((known != 0).any()):
                continue
            u: Grads = [None] * len(tensors)
            (u[n],) = randoms([x], gen)
            s = self.slope(u)
            if (
                s.finite
                and abs(s.right) + abs(s.left) <= 1e-9 * float(d.double().norm()) + 4 * s.error
            ):
                return (
                    "its forward is flat and the gradient is not zero: a straight-through estimator"
                )
        values = [y.abs()[y != 0] for y in self.met.out]
        if all(v.numel() >= 8 and v.unique().numel() <= 2 for v in values) and not any(
            isinstance(x, Tensor) and not x.is_floating_point() for x in self.met.args
        ):
            return "its forward has two levels: the gradient of a quantiser is a choice"
        return ""

    def judge(self, gen: Generator) -> Finding | None:
        """A disagreement with the slope along the way in which backward and reference differ."""
        yours, tensors = self.yours, [self.met.args[n] for n in self.leaves]
        broken = self._not_finite(yours)
        if broken:
            return broken
        own = self.reference()
        doubles = all(
            not x.is_floating_point() or x.dtype == torch.float64
            for x in self.wide
            if isinstance(x, Tensor)
        )
        exact = (self.reference(torch.float64) if doubles else None) or own
        yours = self._by_contract(yours, exact)
        if own is not None and exact is not None:
            worst = self._worst(yours, own, exact)
            if worst is None:
                return None
            at, true = worst
            given = yours[at]
            d = given if given is not None else torch.zeros_like(tensors[at])
            away = (d.to(true.dtype) - true).detach()
            u: Grads = [None] * len(tensors)
            u[at] = (away / (away.abs().max() + 1e-300)).to(tensors[at].dtype)
            found = self._sure(yours, lambda: u)
            if found is None:
                return None
            mine, s = found
            if not self._off(s, dot(exact, u), exact, u):
                return self._finding(at, yours, true, mine, s)
        # The forward is no plain torch code, or not all of it: the slope decides alone.
        found = self._sure(yours, lambda: list(randoms(tensors, gen)))
        return self._finding(-1, yours, None, *found) if found else None

    def _sure(self, yours: Grads, direction: Callable[[], Grads]) -> tuple[float, Slope] | None:
        """The gradient along a direction and the slope, where they differ with either step."""
        for shrink in (1.0, 0.1):
            u = direction()
            s = self.slope(u, shrink)
            mine = dot(yours, u)
            if not self._off(s, mine, yours, u):
                return None
        return mine, s

    def _worst(self, yours: Grads, own: Grads, exact: Grads) -> tuple[int, Tensor] | None:
        """The leaf whose gradient is furthest from the reference, beyond rounding, and the true one."""
        found = None
        most = 0.0
        for n, (a, b, c) in enumerate(zip(yours, own, exact, strict=True)):
            if b is None and a is None:
                continue
            like = b if b is not None else a
            assert like is not None
            true = c if c is not None else torch.zeros_like(like)
            b = b if b is not None else torch.zeros_like(like)
            a = a if a is not None else torch.zeros_like(like)
            if not true.numel():
                continue
            size = max(float(true.abs().max()), float(a.abs().max()), 1e-300)
            noise = 20 * float((b - true).abs().max()) + torch.finfo(a.dtype).eps ** 0.6 * size
            gap = float((a - true).abs().max())
            if gap > noise and gap / size > most:
                most, found = gap / size, (n, true)
        return found

    def _by_contract(self, yours: Grads, exact: Grads | None) -> Grads:
        """A row that an integer argument names, or the only one of a table that gets exactly 0, is left
        out on purpose: padding."""
        named = {x for x in self.met.args if isinstance(x, int) and not isinstance(x, bool)}
        picked = any(
            isinstance(x, Tensor) and x.dtype in (torch.int32, torch.int64) for x in self.met.args
        )
        made: Grads = []
        for n, d in enumerate(yours):
            true = exact[n] if exact is not None else None
            if d is not None and true is not None and d.dim() >= 2:
                d = d.clone()
                bare = (
                    ((d == 0).flatten(1).all(1) & (true != 0).flatten(1).any(1)).nonzero().flatten()
                )
                rows = named | ({int(bare[0])} if picked and len(bare) == 1 else set())
                for row in rows:
                    if -len(d) <= row < len(d) and not bool((d[row] != 0).any()):
                        d[row] = true[row].to(d.dtype)
                        self.contract = True
            made.append(d)
        return made

    def _off(self, s: Slope, mine: float, yours: Grads, u: Grads) -> bool:
        if not s.finite or (s.right == 0.0 == s.left and self._rounds):
            return False
        norm = sum(
            float((d.double() * v.double()).square().sum()) for d, v in zip(yours, u, strict=True)
            if d is not None and v is not None
        ) ** 0.5  # fmt: skip
        eps = max(torch.finfo(y.dtype).eps for y in self.met.out)
        if abs(mine - s.value) <= 30 * s.error + 20 * eps**0.5 * max(norm, abs(s.value)) + 1e-300:
            return False
        margin = 0.01 * (s.high - s.low) + 30 * s.error
        return not (s.kinked and s.low - margin <= mine <= s.high + margin)

    @property
    def _rounds(self) -> bool:
        """The outputs have fewer digits than their type: the forward works in a narrower one."""
        return all(
            y.dtype in (torch.float32, torch.float64) and same(y.to(t).to(y.dtype), y)
            for y in self.met.out for t in (torch.bfloat16,)
        ) or all(
            y.dtype in (torch.float32, torch.float64) and same(y.to(torch.float16).to(y.dtype), y)
            for y in self.met.out
        )  # fmt: skip

    def _not_finite(self, yours: Grads) -> Finding | None:
        for n, d in zip(self.leaves, yours, strict=True):
            if (
                d is None
                or bool(d.isfinite().all())
                or not all(b is None or bool(b.isfinite().all()) for b in self.met.g)
            ):
                continue
            exact = self.reference()
            true = exact[self.leaves.index(n)] if exact is not None else None
            if true is None or not bool(true.isfinite().all()):
                continue
            count = int((~d.isfinite()).sum())
            where = f"input {n}: {count} of {d.numel()} elements"
            return self._made(
                f"the gradient of {self.met.name} is not finite",
                where,
                cause="0/0, or inf times 0, inside",
            )
        return None

    def _finding(
        self, at: int, yours: Grads, true: Tensor | None, mine: float, s: Slope
    ) -> Finding:
        what = f"the backward of {self.met.name} is not the derivative of its forward"
        if at < 0 or true is None:
            return self._made(what, "along a random direction of all inputs", mine, s.value)
        d, n = yours[at], self.leaves[at]
        found = compare(d, true, f"input {n}")
        if d is None:
            cause = "backward returns None for an input that has a derivative"
        else:
            cause = found.words.rpartition("; ")[2] if found.words.count(";") > 1 else ""
        where = found.words.partition(";")[0]
        return self._made(what, where, mine, s.value, cause, found.error)

    def _made(self, what: str, where: str, yours: float | None = None, true: float | None = None,
              cause: str = "", error: float = float("inf")) -> Finding:  # fmt: skip
        shapes = ", ".join(graph.shape(x) for x in self.met.args if isinstance(x, Tensor))
        return Finding("value", what, where, yours, true, error, "as met in the run", cause, shapes,
                       step=self.met.step, line=self.met.line)  # fmt: skip


class _Context:
    """What a forward may do with its ctx, when nobody wants a backward."""

    def __init__(self, args: list[Any]):
        self.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in args)
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def save_for_forward(self, *tensors: Any) -> None: ...
    def mark_dirty(self, *tensors: Any) -> None: ...
    def mark_non_differentiable(self, *tensors: Any) -> None: ...
    def set_materialize_grads(self, value: bool) -> None: ...
