"""The hooks on parameters: what arrives, what was done to it meanwhile, told to the ledger in order.

    register_hook                        before a backward adds to .grad: what is there?
    register_post_accumulate_grad_hook   after it
    queue_callback                       when the backward ends: samples of all that it reached

Whether a gradient was touched shows in its identity, its version and its sample: a write through .data
counts no version. The samples tell how: zeroed, scaled, or written anew. They are numbers when
`replay` runs, not before.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bugzoo.watcher import lines, samples
from bugzoo.watcher.ledger import Fact, Ledger
from bugzoo.watcher.roster import Account

OFTEN = 64  # backward passes after which events are replayed, where no step does it


class Tap:
    """Events since the last replay, and the hooks that write them."""

    def __init__(self, guard: Callable[..., Any] = lambda do, *args: do(*args)) -> None:
        self.guard = guard  # calls a function, so that no error of ours stops the backward
        self.ledger = Ledger()
        self.samples = samples.Samples()
        self.events: list[tuple[Any, ...]] = []
        self.handmade: dict[Account, deque[tuple[float, ...]]] = defaultdict(
            lambda: deque(maxlen=4)
        )
        self.called = lines.NOWHERE  # where the user called backward, if that was seen
        self.scaled = False  # was its loss scaled by a GradScaler?
        self.sequence = 0
        self.flush: Callable[[], None] = lambda: None  # replays what has gathered
        self._since = 0
        self._open: dict[int, list[Account]] = {}  # a backward under way -> what it has reached
        self._handles: dict[Account, list[Any]] = {}

    # -- hooks on and off

    def watch(self, account: Account) -> bool:
        """Hooks on one parameter; none on one that is frozen, until it is not. Is it new?"""
        p = account.ref()
        if account in self._handles or p is None or not p.requires_grad or not p.is_leaf:
            return False
        self._handles[account] = [
            p.register_hook(lambda g, a=account: self.guard(self._before, a)),
            p.register_post_accumulate_grad_hook(
                lambda p, a=account: self.guard(self._after, a, p)
            ),
        ]
        if p.grad is not None:
            self.look([account], "hand")
        return True

    def close(self) -> None:
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()
        self._handles.clear()
        self.events.clear()
        self.samples.clear()
        self._open.clear()

    # -- a backward

    def task(self) -> int:
        """The backward under way, -1 where there is none; begins its record at its first event."""
        number = torch._C._current_graph_task_id()
        if number >= 0 and number not in self._open:
            line = self.called if self.called.text else lines.caller()
            self.called = lines.NOWHERE
            self._updates()
            self.look([a for a in self._handles if a.held], "hand", closely=True)
            self._open[number] = []
            self.events.append(("begin", number, line, self.scaled))
            self.scaled = False
            queue = torch.autograd.Variable._execution_engine.queue_callback
            queue(lambda: self.guard(self._sweep, number))
        return number

    def _updates(self) -> None:
        """What became of parameters without an optimizer since the last backward?"""
        for a in self._handles:
            if a.owned:  # it has been found in an optimizer since
                a.value = None
        mine = [
            a
            for a in self._handles
            if a.value is not None and a.handle is not None and a.ref() is not None
        ]
        now = self.samples.add([samples.pick(p) for a in mine if (p := a.ref()) is not None])
        if mine:
            told = [(a, a.handle, a.value, n) for a, n in zip(mine, now)]
            self.events.append(("update", told))
            for account in mine:
                account.value = None
        self._since += 1
        if self._since >= OFTEN or mine:
            self._since = 0
            self.flush()

    def _before(self, account: Account) -> None:
        account.tentative = -1
        self.look([account], "hand")
        account.tentative = self.task()

    def _after(self, account: Account, p: Tensor) -> None:
        if account.tentative >= 0:
            self._arrive(account, p)
        else:  # a step inside this backward has been here already
            self.look([account], "hand")

    def _arrive(self, account: Account, p: Tensor) -> None:
        number, account.tentative = account.tentative, -1
        self.sequence += 1
        account.order = self.sequence
        self.events.append(("arrive", account, number, p._version))
        self._open.setdefault(number, []).append(account)
        self._know(account, p.grad, None)
        if p.grad is None:  # a hook of the user's has used and cleared it
            self.events.append(("clear", account))

    def _sweep(self, number: int) -> None:
        """Samples of everything that the backward reached, in one go."""
        reached = self._open.pop(number, [])
        self._sample([a for a in reached if a.handle is None and self.intact(a)])
        self.events.append(("end", number, [(a, a.handle) for a in reached]))
        free = [(a, p) for a in reached if not a.owned and (p := a.ref()) is not None]
        for (account, _), handle in zip(free, self.samples.add([samples.pick(p) for _, p in free])):
            account.value = handle

    # -- looking

    @staticmethod
    def intact(account: Account) -> bool:
        """The gradient is the one last seen, and nobody wrote into it since."""
        g = account.grad() if account.grad is not None else None
        p = account.ref()
        return (
            isinstance(g, Tensor)
            and p is not None
            and p.grad is g
            and g._version == account.version
        )

    def look(self, accounts: Iterable[Account], how: str, closely: bool = False) -> None:
        """Note for the ledger what was done to these gradients since the last look.

        `closely`: do not trust the version alone.
        """
        changed: list[tuple[Account, Any, bool]] = []
        for account in accounts:
            p = account.ref()
            if p is None:
                continue
            if account.tentative >= 0 and account.tentative != torch._C._current_graph_task_id():
                account.tentative = -1  # it went to autograd.grad, not to .grad
            elif account.tentative >= 0 and p.grad is not None and not self.intact(account):
                self._arrive(account, p)  # a step inside the backward comes before our hook
            if p.grad is None:
                if account.held:
                    self.events.append(("clear", account))
                self._know(account, None, None)
            elif not self.intact(account) or (closely and account.handle is not None):
                before = account.handle if account.held else None
                changed.append((account, before, not self.intact(account)))
                self._know(account, p.grad, None)
        if changed:
            self._sample([a for a, _, _ in changed])
            for account, before, touched in changed:
                self.events.append(("check", account, before, account.handle, how, touched))

    def renew(self, accounts: Iterable[Account]) -> None:
        """After a step: what the optimizer itself wrote into gradients is nobody's edit."""
        changed = []
        for account in accounts:
            p = account.ref()
            if p is not None and p.grad is not None and account.held and not self.intact(account):
                self._know(account, p.grad, None)
                changed.append(account)
        self._sample(changed)

    @staticmethod
    def _know(account: Account, g: Tensor | None, handle: tuple[int, int] | None) -> None:
        account.held = g is not None
        account.grad = weakref.ref(g) if g is not None else None
        account.version = g._version if g is not None else -1
        account.handle = handle

    def _sample(self, accounts: list[Account]) -> None:
        found = []
        for account in accounts:
            p = account.ref()
            g = p.grad if p is not None else None
            if g is not None and g.layout is torch.strided and g.is_floating_point():
                account.device_eps = torch.finfo(g.dtype).eps
                found.append((account, samples.pick(g)))
        for (account, _), handle in zip(found, self.samples.add([view for _, view in found])):
            account.handle = handle

    # -- replay

    def replay(self, tell: Callable[[tuple[Any, ...], list[Fact]], None]) -> None:
        """All events so far, in order, into the ledger; `tell` gets what is not the ledger's."""
        events, self.events = self.events, []
        self.samples.read()
        for event in events:
            tell(event, self._post(event))
        known = [a for a in self._handles if a.held and a.handle is not None]  # the next one's need
        keep = [(a, self.samples[a.handle]) for a in known if a.handle is not None]
        values = [(a, self.samples[a.value]) for a in self._handles if a.value is not None]
        self.samples.clear()
        for (account, _), handle in zip(keep, self.samples.hold([numbers for _, numbers in keep])):
            account.handle = handle
        for (account, _), handle in zip(values, self.samples.hold([v for _, v in values])):
            account.value = handle

    def _post(self, event: tuple[Any, ...]) -> list[Fact]:
        kind, *rest = event
        ledger = self.ledger
        if kind == "begin":
            ledger.begin(*rest)
        elif kind == "arrive":
            return ledger.arrive(*rest)
        elif kind == "clear":
            ledger.clear(*rest)
        elif kind == "read":
            ledger.read()
        elif kind == "probe":
            ledger.probe(*rest)
        elif kind == "check":
            return self._judge(*rest)
        elif kind == "end":
            number, reached = rest
            if number in ledger.tasks:
                seen = [self.samples[handle] for _, handle in reached if handle]
                totals = [sum(numbers) for numbers in seen]  # one may overflow: then each is asked
                ledger.tasks[number].finite = all(
                    t - t == 0 or all(x - x == 0 for x in numbers)
                    for t, numbers in zip(totals, seen)
                )
        return []

    def _judge(
        self, account: Account, before: Any, now: Any, how: str, touched: bool
    ) -> list[Fact]:
        """A gradient that is not as it was left: zeroed, scaled, or written by somebody."""
        if now is not None and how == "hand" and len(set(self.samples[now])) > 2:
            self.handmade[account].append(tuple(self.samples[now]))
        if now is not None and before is None and not any(self.samples[now]):
            self.ledger.clear(account)
            return []
        if before is not None and now is not None and self.samples[before] == self.samples[now]:
            if touched and not any(self.samples[now]):
                self.ledger.unsure(account)  # zeros before and after say nothing
            return []
        if before is None or now is None:
            self.ledger.replace(account)
            return []
        state, factor = samples.compare(self.samples[before], self.samples[now], account.device_eps)
        if state == "zero":
            self.ledger.clear(account)
        elif state == "scaled" and factor > 0:
            return self.ledger.scale(account, factor, how)
        elif how == "clip" and state == "other":
            return self.ledger.clamp(account)
        elif state in ("other", "scaled"):
            self.ledger.replace(account)
        elif state == "unsure":
            self.ledger.unsure(account)
        return []
