"""bugzoo learn check: run the exercise's check once."""

import json

import click

from bugzoo.cli.learn import _common
from bugzoo.errors import UserError


@click.command("check", short_help="fix, detect, plant: run the check once.")
@_common.chosen
@click.option("--file", "path", default="", metavar="PATH", help="Check this file instead.")
@click.option("--allow-autograd", is_flag=True, help="fix: the backward may ask autograd.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@_common.workspace
def command(
    code: str, mode: str, path: str, allow_autograd: bool, as_json: bool, folder: str, plain: bool
) -> None:
    """Check the exercise that is open, or CODE. Exit code 0 solved, 1 not yet, 3 it raised or hung."""
    from bugzoo.learn import screen

    held = _common.session(folder)
    if code and "/" in code:
        raise UserError(f"'{code}' is a path: say 'bugzoo learn check --file {code}'.")
    exercise, _ = held.current(code, mode)
    colour = screen.coloured(plain)
    found = _common.check(held, exercise, allow_autograd=allow_autograd, colour=colour, path=path)
    if as_json:
        click.echo(json.dumps(found.data, indent=2))
    else:
        from bugzoo.learn import pool, views

        _common.show(
            views.heading(
                exercise, pool.of(exercise), None, path or f"{exercise.code}/{exercise.file}"
            )
        )
        _common.show([*found.lines, "", screen.keys("done" if not found.code else exercise.mode)])
    if found.code:
        raise SystemExit(found.code)
