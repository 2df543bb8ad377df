"""bugzoo learn list: your exercises. No torch."""

import click

from bugzoo.cli.learn import _common


@click.command("list", short_help="Your exercises.")
@click.option("--due", is_flag=True, help="Only those whose family is due.")
@click.option("--mode", default="", metavar="MODE", help="Only of this mode.")
@click.option(
    "--family", default="", metavar="FAMILY", help="Only of this family (once it is known)."
)
@click.option("--level", type=click.IntRange(1, 5), help="Only of this level.")
@_common.workspace
def command(due: bool, mode: str, family: str, level: int | None, folder: str, plain: bool) -> None:
    """Code, mode, operation, level, state, tries, hints, and when its family is due."""
    from bugzoo.learn import screen
    from bugzoo.learn.log import today

    progress = _common.session(folder).progress
    now_due = set(progress.due(today()))
    chosen = [
        r
        for r in progress.records.values()
        if (not mode or r.mode == mode)
        and (not family or r.family == family)
        and (not level or r.level == level)
        and (not due or r.family in now_due)
    ]
    _common.show(screen.listing(chosen, progress))
