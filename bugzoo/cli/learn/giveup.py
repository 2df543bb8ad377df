"""bugzoo learn giveup: close an exercise unsolved."""

import click

from bugzoo.cli.learn import _common


@click.command("giveup", short_help="Close it unsolved, with its label.")
@_common.chosen
@_common.workspace
def command(code: str, mode: str, folder: str, plain: bool) -> None:
    """Show the answer. Another of the same family comes back tomorrow."""
    held = _common.session(folder)
    exercise, _ = held.current(code, mode)
    _common.show(_common.giveup(held, exercise))
