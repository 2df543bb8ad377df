"""REPLAY: each custom Function that the run has met, held against its own forward.

What the run's own backward returned, for the run's own inputs and cotangent, is recorded while it
trains; replay.py makes the call again when it is over. Then the uses that any consumer may make of
it are tried: another cotangent, another layout of it, a second backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.auditor import graph
from bugzoo.auditor.listener import Listener
from bugzoo.auditor.places import same
from bugzoo.auditor.replay import Case, Met
from bugzoo.checkup import uses
from bugzoo.checkup.target import Rejected, outputs
from bugzoo.finding import Finding, Note

KEPT = 3  # calls of one Function with inputs of one kind that are held against it


class Functions(Listener):
    """Records calls while the program runs; `examine` looks at them when it is over."""

    def __init__(self) -> None:
        self.met: dict[Any, list[Met]] = {}
        self.surrogates: set[Any] = set()  # their backward is by intent not the derivative
        self.wrong: set[Any] = set()
        self.forwards = self.backwards = 0

    def applied(self, cls: Any, args: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        kind = (cls, tuple(_kind(x) for x in args))
        kept = self.met.setdefault(kind, [])
        if len(kept) >= KEPT or (kept and len(self.session.steps) < 2 * len(kept)):
            return run()
        session = self.session
        with session.silence():
            met = Met(cls, tuple(map(_snapshot, args)), torch.get_rng_state(), graph.line(),
                      len(session.steps) + 1)  # fmt: skip
        result = run()
        with session.silence():
            found = outputs(result)
            node = next((y.grad_fn for y in found if y.grad_fn is not None), None)
            if node is None or getattr(node, "_forward_cls", None) is not cls:
                return result
            met.out = tuple(y.detach().clone() for y in found)
            met.slots = _slots(result)
            kept.append(met)
            _listen(node, met)
        return result

    def examine(self, gen: Generator) -> Iterator[Finding | Note]:
        told: set[Any] = set()
        for kept in self.met.values():
            first = True
            for met in kept:
                if met.cls in told or met.dx is None:
                    continue
                for item in self._one(met, gen, first):
                    if isinstance(item, Finding):
                        told.add(met.cls)
                    yield item
                first = False

    def _one(self, met: Met, gen: Generator, first: bool) -> Iterator[Finding | Note]:
        if met.lent:
            yield Finding(
                "side_effect", f"the backward of {met.name} writes into what it was only lent", met.lent,
                step=met.step, line=met.line,
                cause="an in-place write; others that use the tensor get a wrong gradient",
            )  # fmt: skip
        case = Case(met)
        try:
            if not case.repeats():
                yield Note("skipped", f"{met.name}: its forward cannot be run again ({case.why}); only the "
                           "slope of the loss tells about it")  # fmt: skip
                return
            intent = case.intent(gen)
            if intent:
                if met.cls not in self.surrogates:
                    self.surrogates.add(met.cls)
                    yield Note("convention", f"{met.name} ({met.line}): {intent}")
            else:
                found = case.judge(gen)
                if case.contract and met.cls not in self.surrogates:
                    self.surrogates.add(met.cls)
                    yield Note(
                        "convention", f"{met.name} ({met.line}): a row named by an argument gets 0"
                    )
                if found is not None:
                    self.wrong.add(met.cls)
                    yield found
                    return
            if first:
                yield from self._uses(met, case, gen, bool(intent))
        except Rejected as error:
            yield Note("skipped", f"{met.name}: {error}")
        finally:
            self.forwards += case.target.forwards
            self.backwards += case.target.backwards

    def _uses(self, met: Met, case: Case, gen: Generator, intent: bool) -> Iterator[Finding | Note]:
        inputs = met.inputs()
        if not case.pure or case.random_backward():
            return
        tried = [uses.cotangent_layout, uses.lent, uses.twice]
        if not intent:
            tried.insert(0, uses.cotangent_scale)
        for use in tried:
            with suppress(Exception):
                for found in use(case.target, inputs, gen):
                    if found.loud:
                        yield Note("risk", f"{met.name}: {found.what}")
                        continue
                    self.wrong.add(met.cls)
                    yield Finding(found.channel, f"{met.name}: {found.what}", found.where, found.yours,
                                  found.true, found.error, found.variation, found.cause,
                                  line=met.line)  # fmt: skip
                    return


def _listen(node: Any, met: Met) -> None:
    """Copy the cotangents on their way in and the gradients on their way out, once."""
    held: list[Any] = []

    def before(grads: Any) -> None:
        if met.dx is None:
            given = [grads[n] if n < len(grads) else None for n in met.slots]
            met.g = tuple(None if b is None else b.detach().clone() for b in given)
            held[:] = [b for b in given if b is not None]

    def after(grads: Any, given: Any) -> None:
        if met.dx is None:
            met.dx = tuple(None if d is None else d.detach().clone() for d in grads)
            for n, b in enumerate(held):
                old = [c for c in met.g if c is not None][n]
                if not same(b.detach(), old):
                    differ = (b.detach() != old).reshape(-1)
                    met.lent = f"cotangent {n}: {int(differ.sum())} of {b.numel()} elements"
            held.clear()

    node.register_prehook(before)
    node.register_hook(after)


def _slots(result: Any) -> tuple[int, ...]:
    items = result if isinstance(result, tuple | list) else (result,)
    return tuple(n for n, y in enumerate(items) if outputs(y))


def _snapshot(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return x
    copy = x.detach().clone(memory_format=torch.preserve_format)
    return copy.requires_grad_(x.requires_grad and (x.is_floating_point() or x.is_complex()))


def _kind(x: Any) -> Any:
    if isinstance(x, Tensor):
        return tuple(x.shape), x.stride(), x.dtype, x.requires_grad
    return x if isinstance(x, int | float | str | bool) else type(x)
