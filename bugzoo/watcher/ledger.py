"""The ledger of gradients: each contribution is spent exactly once.

    grad = sum_j c_j * (what backward j brought)         a lot is one j of one parameter, c_j its scale

Plain bookkeeping, without torch. Events go in, one call each; every call that shows something returns
Facts. Accounts are parameters, tasks are backward passes, spenders are optimizers; all are known by
a key of the caller's.

    ledger.begin(task, line)             a backward starts
    ledger.arrive(account, task)         it adds to the gradient of a parameter
    ledger.clear(account)                that gradient is gone: None, or zero
    ledger.scale(account, factor, how)   it was multiplied: 'clip' or 'hand'
    ledger.replace(account)              somebody wrote another one: it is no longer known what it holds
    ledger.spend(spender, accounts)      a step uses the gradients of these accounts
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from bugzoo.watcher.lines import NOWHERE, Line

Key = Hashable
RECENT = 64  # backward passes that are remembered when all they brought is gone
WHOLE = 1 - 1e-6  # a clip that does not bind multiplies by 1, or by a rounding less


@dataclass
class Task:
    """One backward pass: where it was called, whom it reached, who has spent it."""

    number: int
    line: Line
    touched: set[Key] = field(default_factory=set)
    lost: set[Key] = field(
        default_factory=set
    )  # accounts that were cleared before anybody spent it
    spent: dict[Key, int] = field(default_factory=dict)  # spender -> time of its first step with it
    read: bool = False  # the user read gradients while it was fresh: for a use of their own
    finite: bool = True
    weight: float | None = None  # cotangent of its loss, where that is known
    scaled: bool = False  # by a GradScaler
    probed: Line = NOWHERE  # where the user read the gradient that it gave to an input
    terms: set[Key] = field(default_factory=set)  # means and sums of which its loss is made

    @property
    def wasted(self) -> bool:
        return bool(self.touched) and self.lost == self.touched and not self.spent


@dataclass
class Lot:
    """What one backward left in one account."""

    task: Task
    time: int
    scale: float = 1.0
    spent: dict[Key, float] = field(default_factory=dict)  # spender -> scale at which it was spent
    kept: set[Key] = field(default_factory=set)  # spenders whose spent lot met a new one untouched
    clipped: float = 1.0  # the part of the scale that clipping did
    version: int = 0  # of the parameter: how often it had been written


@dataclass
class Fact:
    """`kind` for `account`, in the words of bugzoo.watcher.facts; `lots` are the ones concerned."""

    kind: str
    account: Key | None = None
    lots: list[Lot] = field(default_factory=list)
    number: float = 0.0
    line: Line = NOWHERE


class Ledger:
    def __init__(self) -> None:
        self.time = 0
        self.lots: dict[Key, list[Lot]] = {}
        self.unknown: set[Key] = set()  # accounts whose gradient somebody else wrote
        self.tasks: dict[Key, Task] = {}  # the ones that hold a lot somewhere, or were lost of late
        self.arrived: set[Key] = set()  # accounts that ever got something
        self.count = 0

    def begin(self, task: Key, line: Line, scaled: bool = False) -> Task:
        self.time += 1
        self.count += 1
        made = self.tasks[task] = Task(self.count, line, scaled=scaled)
        return made

    def arrive(self, account: Key, task: Key, version: int = 0) -> list[Fact]:
        """A second micro-batch that meets a clipped first one: the two no longer weigh the same."""
        self.time += 1
        now = self.tasks[task]
        now.touched.add(account)
        self.arrived.add(account)
        lots = self.lots.setdefault(account, [])
        facts = [
            Fact("clipped_between", account, [lot], lot.clipped, now.line)
            for lot in lots
            if lot.clipped < WHOLE and not lot.spent and lot.task.line.site == now.line.site
        ]
        for lot in lots:
            lot.kept |= {who for who, scale in lot.spent.items() if scale == lot.scale}
        lots.append(Lot(now, self.time, version=version))
        return facts

    def clear(self, account: Key) -> None:
        self.time += 1
        self.unknown.discard(account)
        for lot in self.lots.pop(account, ()):
            if not lot.spent:
                lot.task.lost.add(account)

    def replace(self, account: Key) -> None:
        self.time += 1
        for lot in self.lots.pop(account, ()):
            lot.task.read = True
        self.unknown.add(account)

    def clamp(self, account: Key) -> list[Fact]:
        """It was clipped element by element: no common factor, and still the same lots."""
        self.time += 1
        lots = self.lots.get(account, [])
        spent = bool(lots) and all(lot.spent for lot in lots)
        return [Fact("clipped_after", account, list(lots))] if spent else []

    def unsure(self, account: Key) -> None:
        """It was written, and nobody can tell how: what it holds is no longer judged."""
        self.replace(account)

    def read(self) -> None:
        """The user looked at gradients: what is fresh may have been used by hand."""
        for lots in self.lots.values():
            for lot in lots:
                if not lot.spent:
                    lot.task.read = True

    def scale(self, account: Key, factor: float, how: str) -> list[Fact]:
        self.time += 1
        lots = self.lots.get(account, [])
        facts = []
        if how == "clip" and factor < WHOLE and lots and all(lot.spent for lot in lots):
            facts.append(Fact("clipped_after", account, list(lots), factor))
        if how != "clip" and any(lot.clipped < WHOLE for lot in lots) and _undoes(factor, lots):
            facts.append(Fact("clipped_scaled", account, list(lots), factor))
        for lot in lots:
            lot.scale *= factor
            if how == "clip":
                lot.clipped *= factor
        return facts

    def probe(self, line: Line) -> None:
        """The user reads the gradient of an input: the latest backward was made for it."""
        for task in self.tasks.values():
            if task.number == self.count and not task.spent:
                task.probed = line

    def spend(self, spender: Key, accounts: Iterable[Key], raw: bool = False) -> list[Fact]:
        """A step uses what these accounts hold now.

        `survived`: spent before by the same spender, not touched since, and something new beside it;
        `stale`: the same with nothing new; `decayed`: it was scaled in between, as momentum by hand does;
        `foreign`: another spender has stepped along that backward before the newest one began;
        `scaled`: a GradScaler's factor is still in it, and the step is `raw`: not the scaler's;
        `moved`: the parameter was written between two of its backward passes;
        `twice`: two backward passes went through the same term of a loss;
        `unscaled_again`: the loss scale was taken out of the first micro-batches more than once.
        """
        self.time += 1
        facts = []
        for account in accounts:
            lots = self.lots.get(account, [])
            old = [lot for lot in lots if spender in lot.spent]
            new = [lot for lot in lots if spender not in lot.spent]
            kept = [o for o in old if spender in o.kept or o.scale == o.spent[spender]]
            if kept:
                facts.append(Fact("survived" if new else "stale", account, kept))
            elif old:
                facts.append(Fact("decayed", account, old, old[-1].scale / old[-1].spent[spender]))
            if new:
                last = new[-1]
                foreign = [
                    lot
                    for lot in new[:-1]
                    if lot.task.line.site != last.task.line.site
                    and any(
                        when < last.time for who, when in lot.task.spent.items() if who != spender
                    )
                ]
                if _undoes(last.scale / last.clipped, new):
                    again = [
                        o
                        for o in new[:-1]
                        if o.scale / o.clipped < 0.99 * last.scale / last.clipped
                    ]
                    if again:
                        facts.append(
                            Fact("unscaled_again", account, again, last.scale / last.clipped)
                        )
                if raw and last.task.scaled and abs(last.scale / last.clipped - 1) < 1e-6:
                    facts.append(Fact("scaled", account, [last], last.task.weight or 0.0))
                if len({lot.version for lot in new}) > 1:
                    facts.append(Fact("moved", account, new, len(new)))
                if foreign:
                    facts.append(Fact("foreign", account, foreign, line=foreign[0].task.line))
            terms: set[Key] = set()
            for lot in lots:
                if lot.task.terms & terms:
                    facts.append(Fact("twice", account, [lot], line=lot.task.line))
                    break
                terms |= lot.task.terms
            for lot in lots:
                lot.spent[spender] = lot.scale
                lot.task.spent.setdefault(spender, self.time)
        return facts

    def fresh(self, spender: Key, account: Key) -> list[Lot]:
        """What this spender has not spent yet."""
        return [lot for lot in self.lots.get(account, ()) if spender not in lot.spent]

    def forget(self) -> None:
        """Backward passes of which nothing is left, but for the latest."""
        if len(self.tasks) > 4 * RECENT:
            live = {id(lot.task) for lots in self.lots.values() for lot in lots}
            keep = self.count - RECENT
            self.tasks = {k: t for k, t in self.tasks.items() if t.number > keep or id(t) in live}


def _undoes(factor: float, lots: list[Lot]) -> bool:
    """Times the weight of the losses, is this factor 1? Then it takes a loss scale out."""
    weights = [lot.task.weight for lot in lots if not lot.spent]
    if not weights or None in weights or factor >= 0.5:
        return False
    total = sum(w for w in weights if w)
    largest = max(w for w in weights if w is not None)
    return abs(factor * total - 1) < 1e-3 or abs(factor * largest - 1) < 1e-3
