"""bugzoo learn answer: name the line and the kind of the mistake."""

import click

from bugzoo.cli.learn import _common


@click.command("answer", short_help="find: name the line, and the kind of mistake.")
@click.argument("line")
@click.argument("kind", required=False, default="")
@click.option("--code", default="", help="Of this exercise.  [default: the open one]")
@_common.workspace
def command(line: str, kind: str, code: str, folder: str, plain: bool) -> None:
    """Answer that LINE is wrong, with a mistake of KIND: a name, its beginning, or its number.

    Exit code 1 for a wrong answer, which is then refuted by the readings that you have bought.
    """
    held = _common.session(folder)
    exercise, record = held.current(code)
    found = _common.answer(held, exercise, record, line, kind)
    _common.show(found.lines)
    if found.code:
        raise SystemExit(found.code)
