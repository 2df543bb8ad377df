"""Hooks of the user's that are added again at every step: each of them runs, k times at step k.

n(1) < n(2) < n(3) < n(4)         hooks of one kind on one parameter or module after these steps
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from bugzoo.watcher.log import Log
from bugzoo.watcher.roster import Roster

LOOKS = 4  # in a row that must find more than the one before
ON_MODULES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
ON_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Hooks:
    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)

    def look(self, step: int, log: Log, roster: Roster) -> None:
        """The step is over: how many are there?"""
        for name, kind, hooks in _all(roster):
            counts = self.counts[name, kind]
            if counts and counts[-1][0] == step:
                continue
            del counts[: -(LOOKS - 1)]
            counts.append((step, len(hooks)))
            numbers = [n for _, n in counts]
            if len(numbers) == LOOKS and all(a < b for a, b in zip(numbers, numbers[1:])):
                function, line = _newest(hooks)
                log.report(
                    ("hooks", line), counts[0][0], [name],
                    channel="side_effect",
                    what=f"a hook is added again at every step: {numbers[-1] - numbers[0]} more from step "
                    f"{counts[0][0]} to step {step}",
                    cause=f"{function} is registered inside the loop, and each of them runs: what it does "
                    "to a gradient is done that many times. Register it once, or remove() its handle",
                    line=line,
                )  # fmt: skip


def _all(roster: Roster) -> Iterator[tuple[str, str, Mapping[int, Any]]]:
    for account in list(roster.accounts.values()):
        p = account.ref()
        for kind in ON_TENSORS if p is not None else ():
            hooks = getattr(p, kind, None)
            if hooks:
                yield account.name, kind, hooks
    for label, ref in roster.models:
        model = ref()
        for path, module in model.named_modules() if model is not None else ():
            for kind in ON_MODULES:
                hooks = getattr(module, kind, None)
                if hooks:
                    yield f"module {path}" if path else label, kind, hooks


def _newest(hooks: Mapping[int, Any]) -> tuple[str, str]:
    """Name and place of the function that was added last."""
    hook = hooks[max(hooks)]
    hook = getattr(hook, "__func__", hook)
    code = getattr(hook, "__code__", None)
    name = getattr(hook, "__qualname__", type(hook).__name__).rpartition(".")[2]
    if code is None:
        return name, ""
    return name, f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"
