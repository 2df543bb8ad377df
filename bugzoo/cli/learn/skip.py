"""bugzoo learn skip: put an exercise aside."""

import click

from bugzoo.cli.learn import _common


@click.command("skip", short_help="Put it aside; nothing is lost.")
@_common.chosen
@_common.workspace
def command(code: str, mode: str, folder: str, plain: bool) -> None:
    """Put the exercise aside. 'bugzoo learn start CODE' takes it up again."""
    held = _common.session(folder)
    exercise, _ = held.current(code, mode)
    _common.show(_common.skip(held, exercise))
