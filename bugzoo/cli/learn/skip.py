"""bugzoo learn skip: put an exercise aside."""

import click

from bugzoo.cli.learn import _common


@click.command("skip", short_help="Put it aside; nothing is lost.")
@_common.chosen
@_common.workspace
def command(code: str, mode: str, folder: str, plain: bool) -> None:
    """Put the exercise aside. 'bugzoo learn start CODE' takes it up again."""
    held = _common.session(folder)
    exercise, record = held.current(code, mode)
    if record.state == "open":
        held.note("skip", exercise)
    click.echo(
        f" {exercise.code} is put aside; 'bugzoo learn start {exercise.code}' takes it up again."
    )
