"""bugzoo class report: items, families, the heat map of wrong lines; scores by other weights."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from bugzoo.errors import UserError, did_you_mean


@click.command("report", short_help="Items, families, where the line was looked for.")
@click.argument("graded")
@click.option("--weights", default="", metavar="FILE", help="TOML: score the attempts anew.")
@click.option("--title", default="bugzoo class", show_default=True)
def command(graded: str, weights: str, title: str) -> None:
    """Write report.html, items.csv and scores.csv of the folder GRADED from its attempts.csv."""
    made = write(Path(graded), title, _weights(Path(weights)) if weights else {})
    click.echo("slot      mode     solved  share  discr.  minutes  wrong  hints  flag")
    for row in made:
        click.echo(
            f"{row['slot']:<9} {row['mode']:<7} {row['solved']:>3}/{row['learners']:<3} "
            f"{row['share']:>6.2f}  {row['discrimination']!s:>6}  {row['minutes']!s:>7}  "
            f"{row['wrong_answers']:>5}  {row['hints']:>5}  {row['flag']}"
        )
    click.echo(f"wrote {graded}/report.html")


def write(folder: Path, title: str, weights: dict[str, Any]) -> list[dict[str, Any]]:
    """The page, items.csv and scores.csv; the items."""
    from bugzoo.learn import pool
    from bugzoo.learn.classroom import grade, report

    attempts = report.read(folder / "attempts.csv")
    by_slot = grade.points(attempts, weights)
    scores = grade.scores(by_slot)
    slots = list(dict.fromkeys(r["slot"] for r in by_slot))
    made = report.items(attempts, by_slot)
    answered = report.lines(attempts)
    sources = {}
    for code in answered:
        try:
            shown = pool.resolve(code)
            sources[code] = (shown.shown, shown.lines)
        except UserError:
            continue
    try:
        grade.to_csv(folder / "scores.csv", (*grade.SCORES, *slots), scores)
        grade.to_csv(folder / "items.csv", report.ITEMS, made)
        page = report.page(title, made, report.families(attempts), answered, sources, scores)
        (folder / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}.") from None
    return made


def _weights(path: Path) -> dict[str, Any]:
    from bugzoo.learn.classroom.grade import WEIGHTS

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--weights {path}: cannot be used: {error}") from None
    for name in found:
        if name not in WEIGHTS:
            near = did_you_mean(name, WEIGHTS)
            raise UserError(
                f"--weights {path}: unknown '{name}'.{near} Known: {', '.join(WEIGHTS)}."
            )
    return found
