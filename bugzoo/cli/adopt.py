"""bugzoo adopt: a planted bug becomes a specimen file."""

import re
from pathlib import Path

import click

from bugzoo.cli.learn import _common
from bugzoo.errors import UserError


@click.command("adopt", short_help="A planted bug becomes a specimen file.")
@click.argument("code")
@click.option("--name", default="Planted", show_default=True, help="Name of the class, CamelCase.")
@click.option("--to", default="", metavar="FILE", help="Where.  [default: planted_OP.py]")
@_common.workspace
def command(code: str, name: str, to: str, folder: str, plain: bool) -> None:
    """Write the bug of the plant exercise CODE, such as SO-own-29, with its operation and a label to
    fill in. The oracle says which cases show it."""
    from bugzoo.learn import plant, pool

    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name):
        raise UserError(f"--name {name}: expected a name in CamelCase, e.g. ScaledTwice")
    _common.ready()
    held = _common.session(folder)
    exercise, _ = held.current(code)
    if exercise.mode != "plant":
        raise UserError(
            f"{exercise.code} is an exercise of '{exercise.mode}'; adopt takes those of 'plant'."
        )
    op = pool.of(exercise)
    path = Path(to or f"planted_{op}.py")
    if path.exists():
        raise UserError(f"{path} exists already; name another file with --to")
    text = plant.adopted(op, held.file(exercise), name)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--to {path}: cannot be written: {error.strerror}.") from None
    click.echo(f"wrote {path}")
    click.echo(f"next: fill in its label; bugzoo verify '{path.stem}/*' --specimens {path}")
