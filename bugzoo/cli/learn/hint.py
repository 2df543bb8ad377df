"""bugzoo learn hint: the next rung of the ladder."""

import click

from bugzoo.cli.learn import _common


@click.command("hint", short_help="The next hint: where to look, the family, the line, the lines.")
@_common.chosen
@_common.workspace
def command(code: str, mode: str, folder: str, plain: bool) -> None:
    """Give the next of four hints; each costs more than the one before."""
    held = _common.session(folder)
    exercise, record = held.current(code, mode)
    _common.show(_common.hint(held, exercise, record))
