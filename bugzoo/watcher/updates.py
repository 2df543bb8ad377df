"""What the optimizers made of the gradients: by their rule, uphill, on shared memory, beside a step by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bugzoo.watcher import lines, rules, samples
from bugzoo.watcher.log import Log
from bugzoo.watcher.roster import Account, Roster, owned


@dataclass
class Running:
    """A step under way."""

    optimizer: Optimizer
    index: int
    line: lines.Line
    closure: bool
    begun: int
    raw: bool = False  # its gradients were scaled, and no GradScaler makes the step
    inner: bool = False  # another optimizer steps inside: this one is a wrapper around it
    uses: tuple[list[Account], list[int], Any] = field(default_factory=lambda: ([], [], None))
    foreseen: dict[int, Any] = field(default_factory=dict)
    start: dict[int, Any] = field(default_factory=dict)


class Updates:
    """Holds each update against the rule of its optimizer; findings go into the log."""

    def __init__(self, log: Log, roster: Roster):
        self.log, self.roster = log, roster
        self.after: dict[int, dict[int, Any]] = {}  # optimizer -> samples after a close look

    def foresee(self, step: Running) -> None:
        """Before the step: what the rule will give, and where an unknown rule starts from."""
        step.foreseen = rules.foreseen(step.optimizer)
        if not isinstance(step.optimizer, rules.KNOWN) and not rules.hooked(step.optimizer):
            step.start = rules.now(step.optimizer)

    def examine(self, step: Running, number: int) -> None:
        """After it."""
        for p in owned(step.optimizer):
            if id(p) in step.foreseen:
                self._compare(p, step, number)
        self._climbs(step, number)

    def by_hand_too(self, step: Running, number: int) -> None:
        """Since the last step of this optimizer: did somebody move its parameters along the same gradient?"""
        after = self.after.pop(step.index, {})
        if not after:
            return
        others = (o for ref in self.roster.optimizers if (o := ref()) is not step.optimizer)
        theirs = {id(p) for o in others if o is not None for p in owned(o)}
        found = []
        for p in owned(step.optimizer):
            account = self.roster.lookup(p)
            if id(p) in after and id(p) not in theirs and account is not None:
                before, g = (t.tolist() for t in after[id(p)])
                delta = [n - b for n, b in zip(samples.pick(p).tolist(), before)]
                if any(delta) and downhill(delta, g, before, torch.finfo(p.dtype).eps):
                    found.append(account.name)
        if found:
            self.log.report(
                ("by_hand_too", step.index), number, found,
                channel="trajectory",
                what=f"parameters are updated by hand too, along the gradient that "
                f"{self.roster.call(step.index)} has spent",
                cause="the same contribution moves them twice",
                line=step.line.text,
            )  # fmt: skip

    def _climbs(self, step: Running, number: int) -> None:
        """An step.optimizer whose rule nobody knows: does it go uphill with everything it moves?"""
        found = []
        for p in owned(step.optimizer):
            account = self.roster.lookup(p)
            if id(p) in step.start and account is not None:
                before, g = step.start[id(p)]
                eps = torch.finfo(p.dtype).eps
                moved = not torch.equal(samples.pick(p).double(), before)
                if moved and not rules.climbs(before, g, samples.pick(p), eps):
                    return
                found += [account.name] * moved
        if found:
            kind = type(step.optimizer).__name__
            self.log.report(
                ("uphill", step.index), number, found,
                channel="trajectory",
                what=f"{kind} moves uphill: every parameter by a positive multiple of its gradient",
                cause="the sign of the update; to climb, torch has maximize=True",
                line=step.line.text,
            )  # fmt: skip

    def _compare(self, p: Tensor, step: Running, number: int) -> None:
        before, after, eps = step.foreseen[id(p)]
        worst = rules.mismatch(before, after, samples.pick(p), eps)
        account = self.roster.lookup(p)
        if worst is None or account is None or not all(map(finite, worst)):
            return
        twin = self._twin(p)
        if twin is not None and step.optimizer.param_groups:
            plain = all(
                not g.get("momentum") and not g.get("weight_decay")
                for g in step.optimizer.param_groups
            )
            self._tied(
                step, number, account.name, twin, plain and type(step.optimizer) is rules.SGD
            )
            return
        own = type(step.optimizer) in rules.KNOWN
        kind = type(step.optimizer).__name__
        if own:
            self.log.report(
                ("rule", step.index), number, [account.name],
                channel="trajectory",
                what=f"the update is not what the rule of {kind} gives for the gradient it got",
                yours=worst[0],
                true=worst[1],
                line=step.line.text,
            )  # fmt: skip
        else:
            base = next(k.__name__ for k in rules.KNOWN if isinstance(step.optimizer, k))
            self.log.note(
                "intent",
                f"{kind} is a {base} and does not update as one: {account.name} moved by "
                f"{worst[0]:.6g}, the rule gives {worst[1]:.6g}",
            )

    def _twin(self, p: Tensor) -> Account | None:
        """Another parameter of an optimizer that is the same memory."""
        for other in self.roster.accounts.values():
            q = other.ref()
            if q is not None and q is not p and other.owned and _same_memory(p, q):
                return other
        return None

    def _tied(self, step: Running, number: int, name: str, twin: Account, plain: bool) -> None:
        pair = " and ".join(sorted((name, twin.name)))
        if plain:  # the sum of two plain steps is the step along the sum
            self.log.note(
                "intent", f"{pair} are the same memory, tied through .data, and each is stepped"
            )
            return
        self.log.report(
            ("tied",), number, [pair],
            channel="trajectory",
            what="two parameters are the same memory, and each is stepped by itself",
            cause="they were tied through .data: momentum, decay and moments count twice; tie the "
            "parameters themselves, a.weight = b.weight",
            line=step.line.text,
        )  # fmt: skip


def downhill(delta: list[float], g: list[float], p: list[float], eps: float) -> bool:
    """Is this change of p a multiple of -g, but for rounding?"""
    square = sum(x * x for x in g)
    factor = sum(d * x for d, x in zip(delta, g)) / square if square else 0.0
    most = max(map(abs, delta))
    room = 1e-3 * most + 4 * eps * max(map(abs, p))
    off = max(abs(d - factor * x) for d, x in zip(delta, g))
    return factor < 0 and off <= room and most > 4 * room


def _same_memory(p: Tensor, q: Tensor) -> bool:
    if p.layout is not torch.strided or q.layout is not torch.strided:
        return False
    return p.data_ptr() == q.data_ptr() and p.shape == q.shape and p.stride() == q.stride()


def finite(x: float) -> bool:
    return x - x == 0
