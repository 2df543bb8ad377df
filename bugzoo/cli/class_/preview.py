"""bugzoo class preview: a learner's pack with its answers."""

import click

from bugzoo.cli.class_ import _common
from bugzoo.errors import UserError, did_you_mean


@click.command("preview", short_help="A pack with its answers, for the teacher.")
@_common.given
@click.option("--learner", default="", metavar="NAME", help="Only this one's.  [default: all]")
def command(roster: str, plan: str, secret: str, learner: str) -> None:
    """Print what each learner has been given, with the answers."""
    from bugzoo.learn.classroom import pack

    key, planned, learners = _common.read(roster, plan, secret)
    names = [x.name for x in learners]
    if learner and learner not in names:
        raise UserError(f"--learner {learner}: not in the roster.{did_you_mean(learner, names)}")
    for one in learners:
        if not learner or one.name == learner:
            click.echo(f"{one.name}{f' ({one.team})' if one.team else ''}")
            for line in pack.preview(key, planned, one):
                click.echo(line)
            click.echo()
