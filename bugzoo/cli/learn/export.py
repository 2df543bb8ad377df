"""bugzoo learn export: the log as tidy CSV."""

import csv
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from bugzoo.cli.learn import _common
from bugzoo.errors import UserError


@click.command("export", short_help="The log as CSV, one row an event.")
@click.option("--to", default="", metavar="FILE", help="Write to FILE.  [default: standard output]")
@_common.workspace
def command(to: str, folder: str, plain: bool) -> None:
    """One row an event. What the answer was is blank while an exercise is open."""
    from bugzoo.learn.log import rows

    made = rows(_common.session(folder).log.events())
    if not to:
        _write(sys.stdout, made)
        return
    try:
        with open(Path(to), "w", newline="", encoding="utf-8") as file:
            _write(file, made)
    except OSError as error:
        raise UserError(f"--to {to}: cannot be written: {error.strerror}.") from None
    click.echo(f" wrote {len(made)} events to {to}")


def _write(out: TextIO, made: list[dict[str, Any]]) -> None:
    from bugzoo.learn.log import COLUMNS

    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
