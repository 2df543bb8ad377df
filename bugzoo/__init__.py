# bugzoo
"""bugzoo: a mutation-testing benchmark of buggy backward passes.

The names below load on first use, so that `import bugzoo` and `bugzoo --help` need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Case": "model",
    "Context": "model",
    "Verdict": "model",
    "bug": "model",
    "check": "checkup.check",
    "control": "model",
    "correct": "model",
    "detector": "model",
    "audit": "auditor.audit",
    "Composite": "composite",
    "Engine": "engine",
    "Loop": "loop",
    "results": "trials.frame",
    "watch": "watcher.watch",
}

__all__ = [
    "Case",
    "Composite",
    "Context",
    "Engine",
    "Loop",
    "Verdict",
    "audit",
    "bug",
    "check",
    "control",
    "correct",
    "detector",
    "results",
    "watch",
]

if TYPE_CHECKING:
    from bugzoo.auditor.audit import audit
    from bugzoo.checkup.check import check
    from bugzoo.composite import Composite
    from bugzoo.engine import Engine
    from bugzoo.loop import Loop
    from bugzoo.model import Case, Context, Verdict, bug, control, correct, detector
    from bugzoo.trials.frame import results
    from bugzoo.watcher.watch import watch


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bugzoo' has no attribute {name!r}")
    return getattr(import_module(f"bugzoo.{_HOME[name]}"), name)
