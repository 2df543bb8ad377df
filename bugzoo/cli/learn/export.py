"""bugzoo learn export: the log as tidy CSV."""

import csv
import sys
from pathlib import Path

import click

from bugzoo.cli.learn import _common
from bugzoo.errors import UserError


@click.command("export", short_help="The log as CSV, one row an event.")
@click.option("--to", default="", metavar="FILE", help="Write to FILE.  [default: standard output]")
@_common.workspace
def command(to: str, folder: str, plain: bool) -> None:
    """One row an event. What the answer was is blank while an exercise is open."""
    from bugzoo.learn.log import COLUMNS, rows

    made = rows(_common.session(folder).log.events())
    try:
        out = open(Path(to), "w", newline="", encoding="utf-8") if to else sys.stdout
    except OSError as error:
        raise UserError(f"--to {to}: cannot be written: {error.strerror}.") from None
    try:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(made)
    finally:
        if to:
            out.close()
            click.echo(f" wrote {len(made)} events to {to}")
