"""bugzoo learn review: what is due, always a mistake that you have not seen."""

import click

from bugzoo.cli.learn import _common


@click.command("review", short_help="What is due: a fresh mistake of a family you have met.")
@_common.workspace
def command(folder: str, plain: bool) -> None:
    """Start a fresh exercise of the family that is due first."""
    from bugzoo.learn.log import today

    held = _common.session(folder)
    progress = held.progress
    due = progress.due(today())
    if not due:
        days = sorted((b.due, f) for f, b in progress.families.items() if b.due)
        when = f"; {days[0][1]} on {days[0][0]}" if days else ""
        click.echo(f" nothing is due today{when}")
        return
    _common.ready()
    coming = held.review(due[0])
    held.start(coming.exercise, review=True)
    record = held.progress.records[coming.exercise.key]
    _common.show([f" {coming.why}", "", *_common.task(held, coming.exercise, record)])
