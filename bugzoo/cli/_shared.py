"""What several verbs share: the options that choose files, the loaded catalog, the console."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from bugzoo.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bugzoo.catalog import Catalog
    from bugzoo.trials.frame import Results


def files(command: Callable[..., Any]) -> Callable[..., Any]:
    """--detectors PATH, --specimens PATH, --keep-going: where more of them lie."""
    for option in (
        click.option("--keep-going", is_flag=True, help="Leave out files that cannot be used."),
        click.option(
            "--specimens", multiple=True, metavar="PATH", help="More specimens: a file or a folder."
        ),
        click.option(
            "--detectors", multiple=True, metavar="PATH", help="More detectors: a file or a folder."
        ),
    ):
        command = option(command)
    return command


def load(
    specimens: tuple[str, ...] = (), detectors: tuple[str, ...] = (), keep_going: bool = False
) -> Catalog:
    """The catalog; its problems end the command unless `keep_going`, then they are printed."""
    from bugzoo import catalog, shadow

    shadow.check()
    found = catalog.load(specimens, detectors)
    if found.problems and not keep_going:
        listed = "\n".join(f"  {p}" for p in found.problems)
        raise UserError(
            f"{len(found.problems)} file(s) or entries cannot be used:\n{listed}\n"
            f"Mend them, or leave them out with --keep-going."
        )
    for problem in found.problems:
        click.echo(f"bugzoo: left out: {problem}", err=True)
    return found


def whole(option: str, given: str, least: int) -> int:
    """The whole number that an option was given. UserError where it is none."""
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and int(given) >= least):
        raise UserError(f"{option} {given}: expected a whole number from {least} to 999999999.")
    return int(given)


def table(results: Results, name: str) -> str:
    """The table called `name` as text for 80 columns, its sentence above it."""
    from reports import _scan, _text

    made = _scan.table(name)
    return _text.text(made(results.trials), made.sentence) + _left_out(results)


def _left_out(results: Results) -> str:
    absent = results.meta.get("absent")
    if not absent:
        return ""
    many = "1 peer is" if len(absent) == 1 else f"{len(absent)} peers are"
    words = f"{many} not installed and left out: {', '.join(absent)}."
    return textwrap.fill(f"{words} 'bugzoo peers install --all' installs them.", 80) + "\n"


def console(stderr: bool = False) -> Console:
    """A rich console: 80 columns where the width is unknown, no colour where it is not a terminal."""
    from rich.console import Console

    width = None if os.environ.get("COLUMNS") else _width()
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False)


def _width() -> int | None:
    import sys

    return None if sys.stdout.isatty() else 80
