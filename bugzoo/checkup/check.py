"""check(): the whole battery, the cheap and telling parts first."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bugzoo.checkup import precision, uses, value, variations
from bugzoo.checkup.target import Rejected, Target, copies, dense, flat
from bugzoo.errors import UserError
from bugzoo.finding import ORDER, Checkup, Cost, Finding, Note
from bugzoo.model import DECLARATIONS

PASSES = 1500  # forwards and backwards spent on variations, at most; they are small


def check(
    fn: Callable[..., Any],
    make_inputs: Any,
    *,
    budget: float | None = None,
    declare: str | tuple[str, ...] = (),
    seed: int = 0,
) -> Checkup:
    """Examine the backward of `fn` at inputs derived from `make_inputs`.

    `fn(*inputs)` returns a tensor or a tuple of tensors. `make_inputs` is a function of a seed that
    returns fresh inputs, or a tuple of example inputs, or one tensor. Inputs may be tensors of any
    dtype, None, numbers and modules; floating tensors that require grad are examined, and where
    none does, all of them are. `budget` is in seconds; what was not done is noted.
    `declare`: what is so by intent, see bugzoo.model.DECLARATIONS: 'straight_through' (the gradient
    is not the derivative of the forward) or 'stop_gradient' (some elements get none).

    Raises UserError when there is nothing to examine. Wrong gradients are findings, never raised.
    """
    declared = (declare,) if isinstance(declare, str) else tuple(declare)
    for word in declared:
        if word not in DECLARATIONS:
            raise UserError(
                f"unknown declaration '{word}'; expected one of {', '.join(DECLARATIONS)}"
            )
    start = time.perf_counter()
    gen = torch.Generator().manual_seed(seed)
    target = Target(fn)
    inputs = _inputs(make_inputs, seed)
    result = Checkup(seed=seed)
    _trial_run(target, inputs)
    result.cost = Cost(bytes=sum(x.nbytes for x in inputs if isinstance(x, Tensor)))

    def late() -> bool:
        return budget is not None and time.perf_counter() - start > budget

    random = _randomness(target, inputs, result)
    battery = _Battery(target, inputs, gen, result, late, declared, random)
    battery.run()
    result.findings = _distinct(result.findings)
    result.cost = replace(
        result.cost, forwards=target.forwards, backwards=target.backwards,
        seconds=time.perf_counter() - start,
    )  # fmt: skip
    return result


class _Battery:
    """The order of the examinations, and when to stop."""

    def __init__(
        self,
        target: Target,
        inputs: tuple[Any, ...],
        gen: Generator,
        result: Checkup,
        late: Callable[[], bool],
        declared: tuple[str, ...],
        random: bool,
    ):
        self.target, self.inputs, self.gen, self.result = target, inputs, gen, result
        self.late, self.declared, self.random = late, declared, random
        self.slopes = "straight_through" not in declared and not random
        self.stopped = "stop_gradient" in declared

    def run(self) -> None:
        given = self.inputs
        if not all(bool(dense(t).isfinite().all()) for t in self.target.plain(given)):
            self._note("skipped", "the outputs are not finite at the inputs given")
            if self.slopes:
                self._variations(_wide(self.target, given))
            return
        try:
            writes = list(uses.lent(self.target, copies(given), self.gen))
        except Exception:
            writes = []  # the backward raises: that is told below
        self._add("as given", given, value.Seen(writes))
        if any("forward" in f.what for f in writes):
            return  # nothing below holds for a function that changes its inputs
        wide = _wide(self.target, given)
        if self.slopes:
            self._value("as given", wide)
        if not any(t.requires_grad for t in self.target.forward(given)):
            return  # the graph is cut; that was found above, and there is no backward to use
        self._uses(given)
        if any(f.channel == "value" for f in self.result.findings):
            return
        count = len(self.target.plain(wide))
        if self.slopes and count > 1:
            for n in range(min(count, 4)):
                self._value(f"output {n} alone", wide, only=n)
        if self.slopes and wide is not given:
            self._precision(given, wide)
        if self.slopes:
            self._variations(wide)

    def _variations(self, wide: tuple[Any, ...]) -> None:
        small = variations.small(self.target, wide, self.gen)
        spent = self.target.forwards + self.target.backwards
        for v in variations.derive(self.target, small, self.gen):
            if not v.name:
                continue
            if self.late() or self.target.forwards + self.target.backwards - spent > PASSES:
                self._note("skipped", f"out of budget before the variation '{v.name}'")
                return
            if not variations.accepts(self.target, v.inputs):
                continue
            if v.doubtful:
                self._doubtful(v)
                continue
            self._value(v.name, v.inputs, frozen=v.frozen)
            if v.special and not self.stopped:
                leaf = v.special[0][0]
                elements = [element for _, element in v.special]
                with suppress(Rejected):  # a step out of the domain
                    seen = value.at(self.target, v.inputs, leaf, elements, self.gen)
                    self._add(v.name, v.inputs, seen)
            if len(self.result.findings) >= 6:
                return

    def _value(self, name: str, inputs: tuple[Any, ...], only: int | None = None,
               frozen: dict[int, Tensor] | None = None) -> None:  # fmt: skip
        try:
            seen = value.examine(self.target, inputs, self.gen, only, frozen, self.stopped)
        except Rejected:
            return
        self.result.done.append(name)
        self._add(name, inputs, seen)

    def _doubtful(self, v: variations.Variation) -> None:
        """Inputs that the forward happens to accept: a wrong gradient there is a note."""
        self.result.done.append(v.name)
        try:
            seen = value.examine(self.target, v.inputs, self.gen, stopped=self.stopped)
        except Rejected:
            return
        for finding in seen.findings:
            self._note(
                "risk", f"{finding.what} ({v.name}: {_described(v.inputs)}); forbid it or mend it"
            )

    def _precision(self, given: tuple[Any, ...], wide: tuple[Any, ...]) -> None:
        found = precision.examine(self.target, given, self.gen)
        self.result.done.append("given precision against float64")
        self._add("given precision against float64", given, value.Seen(found))

    def _uses(self, inputs: tuple[Any, ...]) -> None:
        if self.random:
            return
        for finding in uses.examine(self.target, inputs, self.gen):
            self._add(finding.variation, inputs, value.Seen([finding]))
        self.result.done.append("uses, as given")

    def _add(self, name: str, inputs: tuple[Any, ...], seen: value.Seen) -> None:
        shapes = _described(inputs)
        for finding in seen.findings:
            if _overwritten(inputs, finding):
                # Of several writes to one place one wins: which one, no documentation says.
                seen.notes.append(Note("convention", f"repeated indices in a write ({name})"))
                continue
            if finding.loud and name != "as given":
                # Loud, and only on inputs of ours: the author may never have meant to accept them.
                seen.notes.append(Note("raises", f"{finding.what}; inputs: {shapes} ({name})"))
                continue
            self.result.findings.append(
                replace(finding, variation=name, inputs=shapes, seed=self.result.seed)
            )
        for note in seen.notes:
            if note not in self.result.notes and len(self.result.notes) < 12:
                self.result.notes.append(note)

    def _note(self, kind: str, what: str) -> None:
        self.result.notes.append(Note(kind, what))


def _inputs(make_inputs: Any, seed: int) -> tuple[Any, ...]:
    """The given inputs as fresh leaves; all floating ones require grad where none was marked."""
    if callable(make_inputs) and not isinstance(make_inputs, Tensor | nn.Module):
        try:
            takes = len(inspect.signature(make_inputs).parameters)
        except (TypeError, ValueError):
            takes = 1
        try:
            made = make_inputs(seed) if takes else make_inputs()
            again = make_inputs(seed) if takes else make_inputs()
        except Exception as error:
            raise UserError(f"make_inputs raised {type(error).__name__}: {error}") from error
        if _shapes(made) != _shapes(again):
            raise UserError(
                f"make_inputs gives other shapes each time: {_shapes(made)}, then {_shapes(again)}.\n"
                "Expected the same shapes for the same seed."
            )
    else:
        made = make_inputs
    made = made if isinstance(made, tuple | list) else (made,)
    inputs = copies(tuple(made))
    tensors = [x for x in flat(inputs) if isinstance(x, Tensor)]
    floats = [x for x in tensors if x.is_floating_point() or x.is_complex()]
    modules = any(isinstance(x, nn.Module) for x in inputs)
    if not floats and not modules:
        kinds = ", ".join(str(x.dtype) for x in tensors) or "no tensors"
        raise UserError(
            f"no differentiable input: got {kinds}; expected a floating or complex tensor"
        )
    if not any(x.requires_grad for x in floats):
        for x in floats:
            x.requires_grad_()
    return inputs


def _trial_run(target: Target, inputs: tuple[Any, ...]) -> None:
    try:
        y = target.forward(inputs)
    except Rejected as error:
        raise UserError(f"the function raised on the inputs given: {error}") from error
    if not y:
        raise UserError(
            "the function returns no floating or complex tensor: nothing to differentiate"
        )
    if not any(t.requires_grad for t in y) and not target.leaves(inputs):
        raise UserError("no output requires grad: nothing to differentiate")


def _randomness(target: Target, inputs: tuple[Any, ...], result: Checkup) -> bool:
    """Seeded randomness is noted and kept fixed; what no seed fixes cannot be examined by slopes."""
    one, same = target.plain(copies(inputs)), target.plain(copies(inputs))
    with torch.no_grad():
        other = tuple(t.detach() for t in target.forward(copies(inputs), seed=target.seed + 77))
    if not _equal(one, same):
        result.notes.append(
            Note("random", "two runs from the same seed differ: values are not examined")
        )
        return True
    if not _equal(one, other):
        result.notes.append(
            Note("random", "the function draws from torch's generator: seeded inside")
        )
    return False


def _wide(target: Target, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs in float64 where the function takes them; difference quotients need the digits."""
    narrow = any(
        isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64 for x in inputs
    )
    if not narrow or any(isinstance(x, nn.Module) for x in inputs) or target.held:
        return inputs
    made = copies(inputs, torch.float64)
    return made if variations.accepts(target, made) else inputs


def _equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return len(a) == len(b) and all(
        s.shape == t.shape and torch.equal(dense(s).nan_to_num(), dense(t).nan_to_num())
        for s, t in zip(a, b, strict=True)
    )


def _shapes(inputs: Any) -> str:
    return _described(inputs if isinstance(inputs, tuple | list) else (inputs,))


def _described(inputs: Any) -> str:
    """'4x6 float64, 4 int64, None': the inputs in words."""

    def one(x: Any) -> str:
        if isinstance(x, Tensor):
            shape = "x".join(map(str, x.shape)) or "scalar"
            return f"{shape} {str(x.dtype).removeprefix('torch.')}"
        return type(x).__name__ if isinstance(x, nn.Module | list | tuple | dict) else repr(x)

    return ", ".join(map(one, inputs))


def _overwritten(inputs: tuple[Any, ...], finding: Finding) -> bool:
    """Indices repeat, and an element that the result does not show at all gets a gradient."""
    repeated = any(
        x.numel() > len(x.unique())
        for x in flat(inputs)
        if isinstance(x, Tensor) and x.dtype in (torch.int32, torch.int64)
    )
    return repeated and finding.true == 0 and bool(finding.yours)


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One finding for each defect: same channel and cause are told once, by the first variation."""
    kept: dict[tuple[str, str, str], Finding] = {}
    for finding in sorted(findings, key=lambda f: ORDER.index(f.channel)):
        kept.setdefault((finding.channel, finding.what.partition(":")[0], finding.cause), finding)
    return list(kept.values())
