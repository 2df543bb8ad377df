"""A few steps more, untouched, under the watch: what only the unpatched run shows to hooks."""

from __future__ import annotations

from bugzoo.auditor.program import Program
from bugzoo.auditor.walk import go
from bugzoo.errors import named
from bugzoo.finding import Finding, Note
from bugzoo.watcher.watch import Watch

STEPS = 4  # of the optimizer that steps most often
KINDS = ("epoch", "input", "flow")  # of notes that the watch alone can make


def examine(program: Program) -> list[Finding | Note]:
    """Findings of `bugzoo.watch` on a fresh run; nothing where no optimizer steps."""
    watch = Watch([], [], discover=True)
    try:
        with watch as log:
            go(program, STEPS)
    except Exception as error:
        return [Note("skipped", f"the watch: {named(error)}")]
    return [*log.findings, *(n for n in log.notes if n.kind in KINDS)]
