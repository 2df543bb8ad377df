"""A training script as a make_run: run as __main__ each time, its own modules imported afresh."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bugzoo.errors import UserError


def script_run(script: str, args: Sequence[str]) -> Callable[[], Callable[[], None]]:
    """What `audit` builds and runs: the whole script, with these arguments."""
    path = Path(script)
    if not path.is_file():
        raise UserError(f"there is no file {path}; expected a training script or FILE.py::MAKE_RUN")

    def make_run() -> Callable[[], None]:
        return lambda: _run(path, args)

    return make_run


def _run(path: Path, args: Sequence[str]) -> None:
    with _surroundings(path, args) as errors:
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as leave:
            if leave.code not in (None, 0):
                last = errors.getvalue().strip().rpartition("\n")[2]
                said = (
                    leave.code if isinstance(leave.code, str) else last or f"exit code {leave.code}"
                )
                raise UserError(
                    f"{path} ends with an error before it has trained: {said}"
                ) from None


@contextlib.contextmanager
def _surroundings(path: Path, args: Sequence[str]) -> Iterator[io.StringIO]:
    """sys.argv and sys.path as for a script of its own, no output, and no module of its folder kept."""
    argv, folder = sys.argv[:], str(path.resolve().parent)
    modules, where = set(sys.modules), os.getcwd()
    sys.argv = [str(path), *args]
    errors = io.StringIO()
    sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            yield errors
    finally:
        sys.argv = argv
        os.chdir(where)
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(folder + os.sep) and "site-packages" not in file:
                del sys.modules[name]
