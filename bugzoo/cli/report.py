"""bugzoo report: every table, picture and page again, from stored trials. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bugzoo.errors import UserError, did_you_mean


@click.command("report", short_help="Rebuild every report from stored trials, without torch.")
@click.argument("results", default="results", metavar="[RESULTS]")
@click.option("--out", metavar="DIR", help="Where the files go.  [default: beside the trials]")
@click.option("--table", metavar="NAME", help="Print one table instead of the scoreboard.")
@click.option("--json", "as_json", is_flag=True, help="The printed table as JSON; writes no files.")
def command(results: str, out: str | None, table: str | None, as_json: bool) -> None:
    """Rebuild CSV, Markdown and HTML from RESULTS, a folder that `bugzoo run` wrote.

    The same trials give the same bytes.
    """
    from bugzoo import shadow
    from bugzoo.trials import frame

    shadow.check()
    loaded = frame.load(results)
    from reports import _scan, _text, _write

    known = _scan.about()
    if table is not None and table not in known:
        near = did_you_mean(table, known)
        raise UserError(f"unknown table '{table}'.{near} 'bugzoo list reports' shows all.")
    if as_json:
        made = _scan.tables(loaded)[table or "scoreboard"].reset_index()
        click.echo(json.dumps(json.loads(made.to_json(orient="records")), indent=2))
        return
    click.echo(_text.screen(loaded, table or "scoreboard"))
    folder = Path(out) if out else _folder(results)
    for written in _write.write(loaded, folder):
        click.echo(f"wrote {written}")


def _folder(results: str) -> Path:
    path = Path(results)
    return path if path.is_dir() else path.parent
