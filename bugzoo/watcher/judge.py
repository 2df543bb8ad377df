"""What the ledger's facts mean, step by step. What depends on intent is a note with its numbers.

A finding is made at once where one step proves it, and by `bugzoo.watcher.verdicts` at the end where
only the whole run does.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bugzoo.watcher.flow import Flow
from bugzoo.watcher.ledger import Fact, Ledger, Task
from bugzoo.watcher.lines import NOWHERE, Line
from bugzoo.watcher.log import Log
from bugzoo.watcher.roster import Account


@dataclass
class Step:
    """One step of an optimizer, as the replay hands it over."""

    optimizer: int
    name: str
    number: int
    line: Line
    accounts: Sequence[Account]  # those with a gradient
    norms: Sequence[float]
    orders: Sequence[int]  # when each of them got its gradient
    members: frozenset[Account]  # all parameters of this optimizer
    closure: bool = False
    begun: int = 0  # number of the last backward before this step
    taped: int = 0  # forwards with a graph since the step before
    called: Line = NOWHERE  # a backward that reached nobody
    cleared: Line = NOWHERE  # the last zero_grad
    raw: bool = False  # gradients were scaled, and no GradScaler makes the step
    looked: bool = True  # its norms are known


@dataclass
class Window:
    """What happened between two steps of one optimizer, kept for the verdicts."""

    number: int
    line: Line
    backwards: int
    wasted: list[Task] = field(default_factory=list)
    empty: str = ""  # why the step had nothing to use: cleared, cut, zero; '' where it had
    cleared: Line = NOWHERE
    called: Line = NOWHERE  # the one line of its backward passes; nowhere where there are several
    instead: tuple[str, ...] = ()  # parameters of the same shapes that got the gradients


class Judge:
    def __init__(self, log: Log, ledger: Ledger):
        self.log, self.ledger = log, ledger
        self.windows: dict[int, list[Window]] = defaultdict(list)
        self.moved: set[Account] = set()  # ever stepped along a gradient that was not zero
        self.outputs: list[
            tuple[str, float]
        ] = []  # sums of module outputs of this window, in order
        self.operation = ""  # the backward operation that made the first NaN, where that is known
        self.reported: list[tuple[frozenset[Account], Line]] = []  # whom losses that are read reach
        self.trained: set[frozenset[Any]] = set()  # whom the first backward passes reached
        self.clip_line = NOWHERE
        self.clipped = False
        self._once: dict[tuple[Any, ...], tuple[int, list[str]]] = {}
        self.weights: dict[int, list[tuple[str, float, float | None]]] = defaultdict(list)
        self.seen: dict[int, int] = defaultdict(int)  # optimizer -> backwards before its last step
        self.early: dict[Account, tuple[int, Line]] = {}  # clipped while there was nothing to clip
        self.usual: set[str] = set()  # whose outputs are not finite in steps that are well
        self.flow = Flow(log)
        self.now = 0  # number of the step under way, for facts between steps

    # -- facts between steps

    def hear(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            name = str(getattr(fact.account, "name", ""))
            if fact.kind == "clipped_after":
                self.log.report(
                    ("clipped_after", self.clip_line.text), self.now, [name],
                    channel="trajectory",
                    what="gradients are clipped after the step that used them",
                    cause="the clip has no effect on the update; it belongs between backward and step",
                    line=self.clip_line.text,
                )  # fmt: skip
            elif fact.kind == "clipped_between":
                self.log.report(
                    ("clipped_between", fact.line.text), self.now + 1, [name],
                    channel="trajectory",
                    what="gradients are clipped after each micro-batch, and the next one is added",
                    cause=f"the earlier ones are scaled again with each clip (by {fact.number:.3g}): "
                    "clip once, before the step",
                    line=self.clip_line.text or fact.line.text,
                )  # fmt: skip
            elif fact.kind == "clipped_scaled":
                self.log.report(
                    ("clipped_scaled",), self.now + 1, [name],
                    channel="trajectory",
                    what="gradients are clipped while they carry the loss scale, and unscaled after",
                    cause=f"the clip is {1 / fact.number:.6g} times too strict; unscale first",
                    line=self.clip_line.text,
                )  # fmt: skip

    def clips(self, line: Line, accounts: Sequence[Account]) -> None:
        """A clip has been called. Had these accounts anything that no step has spent?"""
        for a in accounts:
            lots = self.ledger.lots.get(a, ())
            if a in self.ledger.unknown or any(not lot.spent for lot in lots):
                self.early.pop(a, None)
            elif not lots:
                self.early.setdefault(a, (self.ledger.time, line))

    # -- a step

    def step(self, step: Step) -> None:
        self.now = max(self.now, step.number)
        ledger, key = self.ledger, step.optimizer
        held = [(a, n) for a, n in zip(step.accounts, step.norms) if n != 0]
        if step.closure:  # all that the closure did was for this step
            for task in ledger.tasks.values():
                if task.number > step.begun:
                    task.spent.setdefault(key, ledger.time)
        fresh = [a for a, _ in held if ledger.fresh(key, a) or a in ledger.unknown]
        backwards = {id(lot.task): lot.task for a, _ in held for lot in ledger.fresh(key, a)}
        mine = {t.line.site for t in backwards.values()}
        window = Window(step.number, step.line, len(backwards), cleared=step.cleared)
        if len(mine) == 1:
            window.called = next(iter(backwards.values())).line
        lost = [
            t
            for t in ledger.tasks.values()
            if t.number > self.seen[key] and t.finite and not t.spent and t.lost & step.members
        ]
        self.seen[key] = ledger.count
        if not held and not step.closure:
            none = "zero" if step.accounts else "cut"
            window.empty = "cleared" if lost else none if step.taped else ""
            if step.called.text and not lost:
                window.line = step.called
            window.instead = self._instead(step) if window.empty == "cut" else ()
        window.wasted = [t for t in lost if t.wasted and not t.read and t.line.site in mine]
        self.windows[key].append(window)
        if len(self.trained) < 16:
            self.trained |= {frozenset(t.touched) for t in backwards.values()}
        self._nonfinite(step)
        self._weigh(step, list(backwards.values()))
        self._early(step, [a for a, _ in held])
        self._probes(step, list(backwards.values()))
        facts = ledger.spend(key, [a for a, _ in held], step.raw)
        if held and not fresh:
            stale = [f for f in facts if f.kind == "stale"]
            if stale:
                self._stale(step, stale)
        else:
            self._spent(step, facts, dict(held))
        self.moved.update(a for a, _ in held)
        self.flow.step(step)
        self.log.records.append(
            {
                "step": step.number,
                "optimizer": step.name,
                "norm": math.hypot(*step.norms) if step.norms else 0.0,
                "parameters": len(held),
                "backwards": len(backwards),
                "clipped": self.clipped,
                "line": step.line.text,
            }
        )
        self.clipped = False
        self.outputs.clear()
        self.operation = ""
        for task in list(ledger.tasks.values()):
            if task.spent:
                self.weights.pop(task.number, None)
        ledger.forget()

    def _instead(self, step: Step) -> tuple[str, ...]:
        """Parameters in no optimizer that hold what was meant for those of this one, by their shapes."""
        others = [
            (a, p) for a, lots in self.ledger.lots.items()
            if isinstance(a, Account) and a not in step.members and not a.owned
            and any(not lot.spent for lot in lots) and (p := a.ref()) is not None
        ]  # fmt: skip
        mine = Counter(p.shape for a in step.members if (p := a.ref()) is not None)
        if not mine or mine - Counter(p.shape for _, p in others):
            return ()
        return tuple(a.name for a, p in reversed(others) if p.shape in mine)

    def _early(self, step: Step, held: list[Account]) -> None:
        """Gradients of this step that came after the clip, and were never clipped."""
        found = []
        for a in held:
            time, line = self.early.get(a, (0, NOWHERE))
            fresh = self.ledger.fresh(step.optimizer, a)
            if time and fresh and all(lot.time > time for lot in fresh):
                found.append((a.name, line))
        for a in step.members:
            self.early.pop(a, None)
        if found:
            self._twice_seen(
                ("clipped_early", found[0][1].text), step.number, [name for name, _ in found],
                channel="trajectory",
                what="gradients are clipped before backward has made them",
                cause="the clip meets None or zeros and has no effect; it belongs between backward and "
                "step",
                line=found[0][1].text,
            )  # fmt: skip

    def _twice_seen(self, kind: tuple[Any, ...], step: int, names: list[str], **words: Any) -> None:
        """Once may be a start or an end; it is reported when it happens again."""
        first = self._once.setdefault(kind, (step, names))
        if first[0] != step:
            self.log.report(kind, first[0], first[1], **words)
            self.log.report(kind, step, names, **words)

    def _probes(self, step: Step, backwards: list[Task]) -> None:
        """A backward made for the gradient of an input, and another one after it, in one step."""
        probed = [t for t in backwards if t.probed.text]
        last = max(backwards, key=lambda t: t.number, default=None)
        if last is not None and probed and any(t is not last for t in probed):
            t = probed[0]
            self.log.note(
                "input",
                f"{step.name} spends {len(backwards)} backward passes; that at {t.line.text} gave an input "
                f"the gradient that {t.probed.text} reads, and left its own in the parameters too: right if "
                "both losses are meant, else clear them in between, or use autograd.grad",
            )

    def _stale(self, step: Step, facts: list[Fact]) -> None:
        self.log.report(
            ("stale_step", step.optimizer), step.number, [str(getattr(f.account, "name", "")) for f in facts],
            channel="trajectory",
            what=f"{step.name} steps without fresh gradients: it uses those of its last step again",
            cause="no backward has reached its parameters since then, and nobody cleared them",
            line=step.line.text,
        )  # fmt: skip

    def _spent(self, step: Step, facts: list[Fact], norms: dict[Account, float]) -> None:
        for fact in facts:
            account: Any = fact.account
            if fact.kind in ("survived", "stale"):
                earliest = min(lot.task.number for lot in fact.lots)
                backs = len({lot.task.number for lot in fact.lots})
                self.log.report(
                    ("survived", step.optimizer), step.number, [account.name],
                    channel="trajectory",
                    what=f"gradients survive a step of {step.name} and are spent again",
                    cause=f"zero_grad is missing, or comes too late: of {account.name} the gradient "
                    f"(norm {norms[account]:.3g}) still holds {backs} earlier "
                    f"backward{'s' * (backs > 1)}, from backward {earliest} on",
                    line=step.line.text,
                )  # fmt: skip
            elif fact.kind == "decayed":
                self.log.note(
                    "intent",
                    f"{step.name} gets gradients of earlier steps again, scaled by {fact.number:.3g} "
                    "in between: right if that is momentum by hand",
                )
            elif fact.kind == "scaled":
                times = f" ({fact.number:.6g})" if fact.number > 1 else ""
                self._twice_seen(
                    ("scaled", step.optimizer), step.number, [account.name],
                    channel="trajectory",
                    what=f"{step.name} steps along gradients that still carry the loss scale{times}",
                    cause="the loss went through GradScaler.scale, the step did not go through "
                    "GradScaler.step, and nobody has unscaled them",
                    line=step.line.text,
                )  # fmt: skip
            elif fact.kind == "moved":
                lines = sorted({lot.task.line.text for lot in fact.lots})
                self.log.note(
                    "intent",
                    f"{step.name} spends {len(fact.lots)} backward passes ({', '.join(lines)}), and "
                    f"parameters were written between them: the sum of gradients at several points, right "
                    "if that is meant",
                )
            elif fact.kind == "twice":
                self.log.report(
                    ("twice", step.optimizer), step.number, [account.name],
                    channel="trajectory",
                    what=f"a loss is sent backward twice, and {step.name} spends both",
                    cause="two backward passes went through the same mean or sum: one call too many, or "
                    "a running total of losses",
                    line=fact.line.text,
                )  # fmt: skip
            elif fact.kind == "unscaled_again":
                self.log.report(
                    ("unscaled_again", step.optimizer), step.number, [account.name],
                    channel="trajectory",
                    what="the first micro-batches of a window are unscaled again with each later one",
                    cause=f"a factor of {fact.number:.3g} is right once, before the step of {step.name}",
                    line=step.line.text,
                )  # fmt: skip
            elif fact.kind == "foreign":
                other = fact.lots[0].task
                self.log.report(
                    ("foreign", step.optimizer, other.line.site), step.number, [account.name],
                    channel="trajectory",
                    what=f"{step.name} spends what another player's backward left in its parameters",
                    cause=f"the backward at {other.line.text or 'an earlier line'} reached them, its "
                    "own optimizer has stepped since: zero them before their own backward, "
                    "or detach",
                    line=step.line.text,
                )  # fmt: skip

    def _nonfinite(self, step: Step) -> None:
        bad = [
            (order, a) for a, n, order in zip(step.accounts, step.norms, step.orders)
            if not math.isfinite(n)
        ]  # fmt: skip
        if not bad:
            self.usual |= {n for n, x in self.outputs if not math.isfinite(x)}
            return
        order, first = min(bad, key=lambda pair: pair[0])
        source = next(
            (n for n, x in self.outputs if not math.isfinite(x) and n not in self.usual), ""
        )
        good = [
            (o, a) for a, n, o in zip(step.accounts, step.norms, step.orders)
            if math.isfinite(n) and o < order
        ]  # fmt: skip
        if source:
            cause = f"the output of {source} is the first that is not finite, in the forward"
        elif self.operation:
            cause = f"made in the backward of {self.operation}, from finite numbers"
        elif good:
            cause = f"made in the backward between {max(good, key=lambda p: p[0])[1].name} (finite) and "
            cause += first.name
        else:
            cause = f"made in the loss or in the backward before {first.name}"
        self.log.report(
            ("nonfinite", step.optimizer), step.number, [first.name, *(a.name for _, a in bad)],
            channel="trajectory",
            what=f"{step.name} steps along a gradient that is NaN or infinite",
            cause=cause,
            line=step.line.text,
        )  # fmt: skip

    def _weigh(self, step: Step, backwards: list[Task]) -> None:
        """Micro-batches of one line that share a window: do their elements weigh the same?"""
        sites = {t.line.site for t in backwards}
        if len(backwards) < 2 or len(sites) != 1:
            return
        parts = [self.weights.get(t.number, []) for t in backwards]
        if any(len(p) != 1 or p[0][2] is None for p in parts) or len({p[0][0] for p in parts}) != 1:
            return
        factors, rows = [p[0][1] for p in parts], [float(p[0][2] or 1) for p in parts]
        each = [f / r for f, r in zip(factors, rows)]
        if min(each) > 0 and max(each) / min(each) > 1 + 1e-4:
            shown = ", ".join(f"{r:g}" for r in rows[:4])
            self.log.note(
                "window",
                f"micro-batches of {shown} elements weigh {max(each) / min(each):.3g} to 1 per element "
                f"(at {backwards[0].line.text}): a mean of means, right only if that is meant",
            )
        elif sum(factors) > 1.5 and max(factors) / min(factors) < 1 + 1e-4:
            self.log.note(
                "window",
                f"{len(factors)} backwards of a mean loss add up to a weight of {sum(factors):.4g} (at "
                f"{backwards[0].line.text}): the gradient grows with their number",
            )
