"""bugzoo report: every table, picture and page again, from stored trials. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bugzoo.cli import _shared


@click.command("report", short_help="Rebuild every report from stored trials, without torch.")
@click.argument("results", default="results", metavar="[RESULTS]")
@click.option("--out", metavar="DIR", help="Where the files go.  [default: beside the trials]")
@click.option(
    "--table", default="scoreboard", show_default=True, metavar="NAME", help="What to print."
)
@click.option("--json", "as_json", is_flag=True, help="The printed table as JSON; writes no files.")
def command(results: str, out: str | None, table: str, as_json: bool) -> None:
    """Rebuild CSV, Markdown and HTML from RESULTS, a folder that `bugzoo run` wrote.

    The same trials give the same bytes.
    """
    from bugzoo import shadow
    from bugzoo.trials import frame

    shadow.check()
    from reports import _scan, _write

    chosen = _scan.table(table)
    loaded = frame.load(results)
    if as_json:
        made = chosen(loaded.trials)
        click.echo(json.dumps(json.loads(made.to_json(orient="records")), indent=2))
        return
    click.echo(_shared.table(loaded, table))
    folder = Path(out) if out else Path(results)
    for written in _write.write(loaded, folder if out or folder.is_dir() else folder.parent):
        click.echo(f"wrote {written}")
