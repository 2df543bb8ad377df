"""bugzoo learn lint: the author's gate."""

import click

from bugzoo.cli.learn import _common
from bugzoo.errors import UserError, did_you_mean


@click.command("lint", short_help="For authors: is a specimen fit to be an exercise?")
@click.argument("names", nargs=-1, metavar="[OP|OP/TWIN]...")
def command(names: tuple[str, ...]) -> None:
    """Hold specimens to what a learner needs. Without a name: the steps of the path.

    Exit code 1 where something is not fit.
    """
    from bugzoo.learn import lint, pool

    _common.ready()
    found: list[str] = []
    for name in names:
        op = name.partition("/")[0]
        if op not in pool.ops():
            raise UserError(f"there is no operation '{op}'.{did_you_mean(op, pool.ops())}")
        found += lint.exhibit(pool.named(name)) if "/" in name else lint.operation(op)
    if not names:
        found += lint.path()
    for said in found:
        click.echo(said)
    click.echo(
        f"{len(found)} thing{'s' * (len(found) != 1)} to mend"
        if found
        else f"{', '.join(names) or 'the path'}: fit for exercises"
    )
    if found:
        raise SystemExit(1)
