"""The order of the examinations, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bugzoo.checkup import (
    digits,
    precision,
    replay,
    second_order,
    special,
    staircase,
    surrogate,
    uses,
    value,
    variations,
)
from bugzoo.checkup.conventions import overwritten
from bugzoo.checkup.direction import normal, symmetric
from bugzoo.checkup.given import written
from bugzoo.checkup.guards import guarded
from bugzoo.checkup.judgement import raised
from bugzoo.checkup.padding import mask
from bugzoo.checkup.rough import iterates
from bugzoo.checkup.sizes import all_sizes, resized, small
from bugzoo.checkup.stops import Stops
from bugzoo.checkup.target import Rejected, Target, copies, dense, flat, put_back
from bugzoo.checkup.variation import Variation, accepts
from bugzoo.errors import named
from bugzoo.finding import Checkup, Note

PASSES = 2500  # forwards and backwards spent on variations, at most; they are small
ASIDE = 0.3  # how far constant leaves are moved
ALIKE = 3  # notes of one kind that are kept
SLOW = 0.1  # seconds for one variation of a large size: then the others of that kind are left out


class Battery:
    """The examinations of one function at one set of inputs; what they bring goes into `result`."""

    def __init__(
        self,
        target: Target,
        inputs: tuple[Any, ...],
        gen: Generator,
        result: Checkup,
        late: Callable[[], bool],
        declared: tuple[str, ...] = (),
        random: bool = False,
        second: bool = False,
    ):
        self.target, self.inputs, self.gen, self.result = target, inputs, gen, result
        self.late, self.random, self.second = late, random, second
        self.declared = "straight_through" in declared
        self.stopped = "stop_gradient" in declared
        self.slopes = not self.declared and not random
        self.undone: list[str] = []

    def run(self, outputs: tuple[Tensor, ...], core: bool = False) -> None:
        """All that is asked, or the `core`: is the gradient the derivative at the inputs given, and are
        these left as they were? `outputs`: of the first call."""
        given = self.inputs
        if not all(bool(dense(t.detach()).isfinite().all()) for t in outputs):
            self._note("skipped", "the outputs are not finite at the inputs given")
            if self.slopes and not core:
                self._variations(wide(self.target, given))
            return
        try:
            writes = list(uses.lent(self.target, copies(given), self.gen))
            self._unmarked(self.target.last)
        except Exception:
            writes = []  # the backward raises: that is told below
        self._add("as given", given, value.Seen(writes))
        if any("forward" in f.what for f in writes):
            return  # nothing below holds for a function that changes its inputs
        double = wide(self.target, given)
        if self.slopes:
            self._value("as given", double)
        if any(f.loud for f in self.result.findings):
            return  # it raises: there is nothing to use
        if core:
            self._note("skipped", "all but the core, as was asked")
            return
        if not any(t.requires_grad for t in outputs):
            return  # the graph is cut; that was found above, and there is no backward to use
        self._given_size(given, double)
        if self.slopes and not any(f.channel == "value" for f in self.result.findings):
            self._variations(double)

    def _given_size(self, given: tuple[Any, ...], double: tuple[Any, ...]) -> None:
        """What is examined on the inputs as they are."""
        own = self.declared or any(n.kind == "surrogate" for n in self.result.notes)
        kinds = surrogate.find(self.target, double, self.gen) if own else {}
        if not self.random:
            same = "identity" in kinds.values()
            for finding in uses.examine(self.target, given, self.gen, self.late, same, self.undone):
                self._add(finding.variation, given, value.Seen([finding]))
            self.result.done.append("uses, as given")
        if any(n.kind == "stop_gradient" for n in self.result.notes):
            self.stopped = True  # at a single element it would look like a mistake
        if own:
            with suppress(Rejected):
                found = staircase.examine(self.target, double, self.gen) if kinds else []
                self._add("as given", double, value.Seen(found))
            self.slopes = False  # the derivative is not what the gradient is held against
        if not self.slopes or any(f.channel == "value" for f in self.result.findings):
            return
        if self.late():
            self.undone.append("outputs apart, precision, second order")
            return
        try:
            self._add("as given", double, value.starving(self.target, double, self.gen))
        except Rejected:
            pass
        except RuntimeError as error:
            if "second time" not in str(error):
                raise
            self._add("as given", double, value.Seen([raised(error, variation="a later call")]))
            return
        self._moved(double)
        count = len(self.target.plain(double))
        for n in range(min(count, 4) if count > 1 else 0):
            self._value(f"output {n} alone", double, only=n)
        if double is not given:
            found = precision.examine(self.target, given, self.gen)
            found = found or precision.beyond(self.target, given, self.gen)
            self.result.done.append("given precision against float64")
            self._add("given precision against float64", given, value.Seen(found))
        else:
            self._add("as given", given, value.Seen(digits.examine(self.target, given, self.gen)))
        self._second_order(double)

    def _moved(self, double: tuple[Any, ...]) -> None:
        """Elsewhere than at the start: along all leaves, then along those alone that were special there."""
        leaves = self.target.leaves(double)
        with moved_off(leaves, double, self.gen) as (moved, special):
            if not moved:
                return
            name = "constant parameters and inputs moved"
            self._value(name, double, shrink=False)
            others = {
                n: torch.ones(x.shape, dtype=torch.bool, device=x.device)
                for n, (_, x) in enumerate(leaves)
                if n not in special
            }
            if special and others and not any(f.variation == name for f in self.result.findings):
                self._value(name, double, frozen=others, shrink=False)

    def _second_order(self, double: tuple[Any, ...]) -> None:
        leaves = [x for _, x in self.target.leaves(double)]
        if all(x.dtype == torch.float64 and x.layout == torch.strided for x in leaves):
            with suppress(Rejected):
                seen = second_order.examine(self.target, double, self.gen, self.second)
                self._add("backward differentiated", double, seen)
                self.result.done.append("second order")
        elif self.second:
            self._note("skipped", "second order: the function does not take float64")

    def _variations(self, double: tuple[Any, ...]) -> None:
        with guarded():
            self._derived(double)

    def _derived(self, double: tuple[Any, ...]) -> None:
        base = small(self.target, double, self.gen)
        spent = self.target.forwards + self.target.backwards
        slow: set[str] = set()
        # A loop that stops when it is near enough may not come near elsewhere: then nothing holds.
        loops = bool(replay.names(self.target, base)) and iterates(self.target, base)
        for v in variations.derive(self.target, base, self.gen, double):
            if not v.name:
                continue
            v = replace(v, doubtful=v.doubtful or loops)
            if self.late() or self.target.forwards + self.target.backwards - spent > PASSES:
                self.undone.append(f"the variations from '{v.name}' on")
                return
            if v.large and slow and "1026" in v.name:
                continue
            start = time.thread_time()
            try:
                if accepts(self.target, v.inputs):
                    self._vary(v)
            except Rejected:
                continue
            except Exception as error:  # of a probe of ours: says nothing about the function
                self._note("skipped", f"{v.name}: {named(error)}")
            if v.large and time.thread_time() - start > SLOW:
                slow.add(v.name)
                self._note("skipped", f"sizes beyond '{v.name}', which took long")
            if len(self.result.findings) >= 3:
                return

    def _vary(self, v: Variation) -> None:
        if v.doubtful:
            self._doubtful(v)
        elif v.finite:
            self.result.done.append(v.name)
            self._add(v.name, v.inputs, value.finite(self.target, v.inputs, self.gen))
        else:
            self._value(v.name, v.inputs, frozen=v.frozen, shrink=not v.special)
            if v.special and not self.stopped:
                leaf = v.special[0][0]
                padded = mask(self.target, self.target.leaves(v.inputs)).get(leaf)
                elements = [e for _, e in v.special if padded is None or not bool(padded[e])]
                seen = special.at(self.target, v.inputs, leaf, elements, self.gen)
                if not (seen.findings and self._held_inside(v.inputs)):
                    self._add(v.name, v.inputs, seen)

    def _held_inside(self, inputs: tuple[Any, ...]) -> bool:
        """Buffers that the forward writes into, or surrogates inside: slopes at single elements say nothing."""
        stops = Stops(self.target)
        stops.plain(inputs)
        return bool(stops.written or stops.surrogates.count)

    def _value(self, name: str, inputs: tuple[Any, ...], only: int | None = None,
               frozen: dict[int, Tensor] | None = None, shrink: bool = True) -> None:  # fmt: skip
        try:
            seen = value.examine(self.target, inputs, self.gen, only, frozen, self.stopped)
        except Rejected:
            return
        self.result.done.append(name)
        if seen.findings and shrink and not frozen and only is None:
            with guarded():
                seen = self._smallest(inputs, seen)
        self._add(name, inputs, seen)

    def _smallest(self, inputs: tuple[Any, ...], seen: value.Seen) -> value.Seen:
        """Smaller inputs that show the same finding."""
        what = seen.findings[0].what
        current = inputs
        for size in sorted(all_sizes(inputs), reverse=True):
            for wanted in (1, 2, 3, 5):
                if wanted >= size or self.late():
                    break
                tried = resized(current, {size: wanted}, self.gen)
                with suppress(Rejected, RuntimeError, ValueError, IndexError):
                    if not accepts(self.target, tried):
                        continue
                    again = value.examine(self.target, tried, self.gen, stopped=self.stopped)
                    if again.findings and again.findings[0].what == what:
                        kept = replace(seen.findings[0], inputs=written(tried))
                        current = tried
                        seen = value.Seen([kept, *seen.findings[1:]], seen.notes)
                        break
        return seen

    def _doubtful(self, v: Variation) -> None:
        """Inputs that the forward happens to accept: a wrong gradient there is a note."""
        self.result.done.append(v.name)
        seen = value.examine(self.target, v.inputs, self.gen, stopped=self.stopped)
        for finding in seen.findings:
            inputs = written(v.inputs)
            self._note("risk", f"{finding.what} ({v.name}: {inputs}); forbid it or mend it")

    def _unmarked(self, dx: list[Tensor | None]) -> None:
        """Nobody said which inputs learn: those that get no gradient at all are taken not to."""
        leaves = self.target.leaves(self.inputs)
        if self.target.marked or len(dx) != len(leaves) or all(d is None for d in dx):
            return
        mine = {id(x) for x in flat(self.inputs) if isinstance(x, Tensor)}
        for (name, x), d in zip(leaves, dx, strict=True):
            if d is None and id(x) in mine:
                x.requires_grad_(False)
                self._note(
                    "unmarked", f"{name} gets no gradient: mark it requires_grad if it should"
                )

    def _add(self, name: str, inputs: tuple[Any, ...], seen: value.Seen) -> None:
        shapes = written(inputs)
        notes = list(seen.notes)
        for finding in seen.findings:
            if overwritten(self.target, inputs, finding):
                # Of several writes to one place one wins: which one, no documentation says.
                notes.append(Note("convention", f"repeated indices in a write ({name})"))
            elif finding.loud and name != "as given":
                # Loud, and only on inputs of ours: the author may never have meant to accept them.
                notes.append(Note("raises", f"{finding.what}; inputs: {shapes} ({name})"))
            else:
                self.result.findings.append(replace(
                    finding, variation=name, inputs=finding.inputs or shapes, seed=self.result.seed
                ))  # fmt: skip
        for note in notes:
            alike = sum(n.kind == note.kind for n in self.result.notes)
            if note not in self.result.notes and alike < ALIKE:
                self.result.notes.append(note)

    def _note(self, kind: str, what: str) -> None:
        if sum(n.kind == kind for n in self.result.notes) < ALIKE:
            self.result.notes.append(Note(kind, what))


@contextmanager
def moved_off(
    leaves: list[tuple[str, Tensor]], inputs: tuple[Any, ...], gen: Generator
) -> Iterator[tuple[bool, set[int]]]:
    """Leaves that hold one number throughout, as weights of ones and gates of zero at the start do, are
    given others for the block: at such a start wrong terms cancel. So are complex leaves that are real,
    and single numbers among the inputs that do not learn; the other parameters go elsewhere, where
    a cache of them is stale. Yields whether anything was moved, and which leaves were of the first kinds.
    """
    special = {n for n, (_, x) in enumerate(leaves) if _special(x)}
    scalars = [
        x
        for x in flat(inputs)
        if isinstance(x, Tensor) and x.is_floating_point() and not x.dim() and not x.requires_grad
    ]
    parameters = [
        x
        for n, (name, x) in enumerate(leaves)
        if n not in special and (not name.startswith("input") or "," in name)
        if x.layout == torch.strided and x.is_floating_point()
    ]
    with put_back([*(leaves[n][1] for n in special), *parameters, *scalars]):
        with torch.no_grad():
            for n in sorted(special):
                x = leaves[n][1]
                x.add_(normal(x, gen).to(x), alpha=ASIDE)
            for x in parameters:
                x.mul_(1 + ASIDE * normal(x, gen).to(x))
            for x in scalars:
                x.mul_(1 + ASIDE)
        yield bool(special or parameters or scalars), special


def _special(x: Tensor) -> bool:
    """One number throughout, or complex and real."""
    if x.layout != torch.strided or not x.numel():
        return False
    if x.is_complex():
        return not bool(x.imag.any()) and not symmetric(x)
    return x.is_floating_point() and bool((x == x.reshape(-1)[0]).all())


def wide(target: Target, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs in float64 where the function takes them; difference quotients need the digits."""
    narrow = any(
        isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
        for x in flat(inputs)
    )
    narrow = narrow or any(isinstance(x, Tensor) and x.dtype == torch.complex64 for x in inputs)
    if not narrow or any(isinstance(x, nn.Module) for x in inputs) or target.held:
        return inputs
    made = copies(inputs, torch.float64)
    return made if accepts(target, made) else inputs
