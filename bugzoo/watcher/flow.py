"""Norms of gradients, judged against the run's own past: what explodes, jumps or vanishes.

    share_a(n) = |g_a(n)| / |g(n)|         the part of the whole gradient that parameter a gets at step n

A whole gradient that vanishes may be a run that has converged; a part whose share vanishes is not. The
explosion alone is a finding, and only beyond all doubt; the rest are notes.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING

from bugzoo.watcher.log import Log
from bugzoo.watcher.roster import Account

if TYPE_CHECKING:
    from bugzoo.watcher.judge import Step

HISTORY = 8  # steps before a step can be called unusual
UNUSUAL, EXTREME = 1e3, 1e6  # times the median norm of the run's own earlier steps
FADED = 1e-4  # of the share that it had
APART = 1e6  # times, between the largest and the smallest gradient of a weight, per element


class Share:
    """Of one parameter in one optimizer: its share in the first steps and in the latest."""

    __slots__ = ("early", "late", "norms")

    def __init__(self) -> None:
        self.early: list[float] = []
        self.late: deque[float] = deque(maxlen=HISTORY)
        self.norms: list[float] = []  # in the first steps

    def add(self, norm: float, total: float) -> None:
        if len(self.early) < HISTORY:
            self.early.append(norm / total)
            self.norms.append(norm)
        else:
            self.late.append(norm / total)


class Flow:
    def __init__(self, log: Log):
        self.log = log
        self.history: dict[int, list[float]] = defaultdict(list)
        self.shares: dict[int, dict[Account, Share]] = defaultdict(lambda: defaultdict(Share))

    def step(self, step: Step) -> None:
        if not step.looked:
            return
        total = math.hypot(*step.norms) if step.norms else 0.0
        past = self.history[step.optimizer]
        if len(past) >= HISTORY and total > 0 and math.isfinite(total):
            self._jump(step, past, total)
        if math.isfinite(total):
            past.append(total)
            if total > 0:
                shares = self.shares[step.optimizer]
                for account, norm in zip(step.accounts, step.norms):
                    shares[account].add(norm, total)

    def _jump(self, step: Step, past: list[float], total: float) -> None:
        usual = median(past)
        if total > 1 and usual > 0 and total > EXTREME * max(past):
            self.log.report(
                ("exploded", step.optimizer), step.number,
                channel="trajectory",
                what=f"the gradient of {step.name} explodes",
                cause=f"its norm is {total:.3g}; of the {len(past)} steps before the largest is "
                f"{max(past):.3g}",
                line=step.line.text,
            )  # fmt: skip
        elif usual > 0 and total > UNUSUAL * usual:
            self.log.note(
                "flow",
                f"the gradient norm of {step.name} jumps from {usual:.3g} to {total:.3g} at step "
                f"{step.number}",
            )

    def conclude(self, names: Mapping[int, str]) -> None:
        """Notes at the end of the run; `names` of optimizers."""
        for key, shares in self.shares.items():
            self._faded(names.get(key, "a step"), shares)
            self._apart(names.get(key, "a step"), shares)

    def _faded(self, name: str, shares: Mapping[Account, Share]) -> None:
        """A parameter that got its share in the first steps and gets none in the latest."""
        found = []
        for account, share in shares.items():
            if len(share.late) == HISTORY:
                before, now = median(share.early), median(share.late)
                if now < FADED * before:
                    found.append((now / before, account.name))
        if found:
            worst, first = min(found)
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            self.log.note(
                "flow",
                f"the gradient of {first}{more} vanishes: its share of the gradient of {name} is "
                f"{worst:.2g} times what it was in the first {HISTORY} steps",
            )

    def _apart(self, name: str, shares: Mapping[Account, Share]) -> None:
        """From the first steps on the gradient of one weight is next to nothing beside another's."""
        sizes = []
        for account, share in shares.items():
            p = account.ref()
            size = median(share.norms)
            if p is not None and p.dim() > 1 and len(share.norms) >= 3 and size > 0:
                sizes.append((size / math.sqrt(p.numel()), account.name))
        if len(sizes) > 2:
            (low, small), (high, large) = min(sizes), max(sizes)
            if high > APART * low:
                self.log.note(
                    "flow",
                    f"gradients vanish on their way from the first steps on: {low:.2g} per element of "
                    f"{small}, {high:.2g} of {large}",
                )
