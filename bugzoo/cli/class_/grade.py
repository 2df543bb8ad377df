"""bugzoo class grade: every submission in a sandbox; scores and feedback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bugzoo.cli import _shared
from bugzoo.cli.class_ import _common

if TYPE_CHECKING:
    from bugzoo.learn.classroom.grade import Graded


@click.command("grade", short_help="Grade submissions in sandboxes.")
@click.argument("submissions")
@_common.given
@click.option("--out", default="graded", show_default=True, metavar="DIR", help="Where results go.")
@click.option("--seconds", default="20", show_default=True, metavar="N", help="For one submission.")
@click.option("--jobs", "-j", default="", metavar="N", help="At a time.  [default: the cores]")
def command(
    submissions: str, roster: str, plan: str, secret: str, out: str, seconds: str, jobs: str
) -> None:
    """Grade the folder SUBMISSIONS, with a folder for each learner in it.

    Writes attempts.csv, scores.csv, feedback/NAME.md, and the page of `class report`. The inputs are
    drawn anew, with a seed that nobody has seen.
    """
    from bugzoo.cli.class_ import report
    from bugzoo.learn.classroom import grade
    from bugzoo.trials.pool import jobs_from

    limit = _shared.whole("--seconds", seconds, 1)
    key, planned, learners = _common.read(roster, plan, secret)
    handed = grade.collect(Path(submissions), key, planned, learners)

    def said(done: Graded) -> None:
        h = done.handed
        what = "right" if done.right else done.facts.get("problem") or f"{done.share:.2f}"
        click.echo(f"{h.learner.name:<16} {h.slot.name:<8} {h.exercise.code:<12} {str(what)[:38]}")

    graded = grade.grade(handed, key, jobs=jobs_from(jobs), seconds=limit, said=said)
    scores = grade.write(Path(out), graded, planned.weights)
    report.write(Path(out), planned.title, planned.weights)
    mean = sum(s["points"] for s in scores) / max(1, len(scores))
    click.echo(
        f"{len(scores)} learners, mean {mean:.1f} of {scores[0]['of'] if scores else 0}; wrote {out}"
    )
