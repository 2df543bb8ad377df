"""A few steps more, untouched, under the watch: what only the unpatched run shows to hooks."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from bugzoo.auditor.program import Program, seeded
from bugzoo.auditor.session import Stop
from bugzoo.finding import Finding, Note
from bugzoo.watcher.watch import Watch

STEPS = 4  # of the optimizer that steps most often
MOST = 12  # of all of them together


def examine(program: Program) -> list[Finding | Note]:
    """Findings of `bugzoo.watch` on a fresh run; nothing where no optimizer steps."""
    seen: Counter[int] = Counter()

    def stepped(optimizer: Any, *_: Any) -> None:
        seen[id(optimizer)] += 1
        if max(seen.values()) >= STEPS or seen.total() >= MOST:
            raise Stop

    watch = Watch([], [], discover=True)
    program.builds += 1
    try:
        with watch as log:
            hook = register_optimizer_step_post_hook(stepped)  # after the watch's own
            try:
                with seeded(program.seed):
                    program.drive(lambda: seen.total())
            finally:
                hook.remove()
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        return [Note("skipped", f"the watch: {type(error).__name__}: {first}")]
    program.forwards += seen.total()
    program.backwards += seen.total()
    return list(log.findings)
