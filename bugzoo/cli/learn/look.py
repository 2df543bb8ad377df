"""bugzoo learn look: buy a reading, or list the instruments."""

import click

from bugzoo.cli.learn import _common


@click.command("look", short_help="find: buy a reading.")
@click.argument("name", required=False, default="")
@click.option("--code", default="", help="Of this exercise.  [default: the open one]")
@_common.workspace
def command(name: str, code: str, folder: str, plain: bool) -> None:
    """Read the instrument NAME on the exercise that is open. Without NAME: the screen again."""
    held = _common.session(folder)
    exercise, record = held.current(code)
    if name:
        _common.show(_common.look(held, exercise, name))
    else:
        _common.ready()
        _common.show(_common.task(held, exercise, record))
