"""bugzoo learn next: what comes next, started and shown."""

import click

from bugzoo.cli.learn import _common


@click.command("next", short_help="What comes next: what is open or due, or the next step.")
@_common.workspace
def command(folder: str, plain: bool) -> None:
    """Show the exercise that is open; else what is due for review; else the next step of the path."""
    _common.show(_common.begin(_common.session(folder)))
