"""bugzoo learn reset: the exercise's file as it was handed out."""

import click

from bugzoo.cli.learn import _common


@click.command("reset", short_help="The file as it was handed out; yours is kept.")
@_common.chosen
@_common.workspace
def command(code: str, mode: str, folder: str, plain: bool) -> None:
    """Write the exercise's file again. Yours is kept beside it, under a number."""
    _common.ready()
    held = _common.session(folder)
    exercise, _ = held.current(code, mode)
    path, kept = held.reset(exercise)
    click.echo(f" wrote {path}" + (f"; yours is {kept}" if kept else ""))
