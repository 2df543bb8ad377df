"""bugzoo learn explain: the label of an exercise that is closed."""

import click

from bugzoo.cli.learn import _common


@click.command("explain", short_help="The label, once it is solved or given up.")
@_common.chosen
@_common.workspace
def command(code: str, mode: str, folder: str, plain: bool) -> None:
    """What was wrong, the difference, which checks miss it, where it was seen."""
    held = _common.session(folder)
    exercise, record = held.current(code, mode)
    _common.show(_common.explain(held, exercise, record))
