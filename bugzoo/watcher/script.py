"""A training script under observation: it runs as `__main__`, with its own arguments, unchanged."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from bugzoo.errors import UserError
from bugzoo.watcher.log import Log
from bugzoo.watcher.watch import Watch


def run(script: str, args: Sequence[str] = (), *, every: int = 1) -> tuple[Log, str]:
    """The log, and why the run is no good: '' where it is, else one message."""
    path = Path(script)
    if not path.is_file():
        raise UserError(f"watch: there is no file {script}; expected a Python script that trains")
    argv, where = sys.argv, list(sys.path)
    sys.argv = [script, *args]
    sys.path.insert(0, str(path.resolve().parent))
    failure = ""
    watching = Watch([], [], every=every, discover=True)
    try:
        with watching as log:
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            failure = f"{script} exits with {end.code!r} after {log.steps} steps of an optimizer"
    except SyntaxError as error:
        raise UserError(f"{script} is no Python: {error}") from error
    except Exception as error:
        traceback.print_exception(type(error), error, _own(error))
        failure = f"{script} raises {type(error).__name__} after {log.steps} steps; its traceback is above"
    finally:
        sys.argv, sys.path[:] = argv, where
    log = watching.log
    if not failure and not log.steps:
        failure = f"{script} never steps: no torch.optim.Optimizer.step was called in it"
    return log, failure


def _own(error: BaseException) -> TracebackType | None:
    """The traceback from the script on, without the frames that ran it."""
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_globals.get("__name__") != "__main__":
        tb = tb.tb_next
    return tb or error.__traceback__
