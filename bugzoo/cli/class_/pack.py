"""bugzoo class pack: a folder for each learner."""

from pathlib import Path

import click

from bugzoo.cli.class_ import _common


@click.command("pack", short_help="A folder of exercises for each learner.")
@_common.given
@click.option("--out", default="packs", show_default=True, metavar="DIR", help="Where they go.")
def command(roster: str, plan: str, secret: str, out: str) -> None:
    """Write a folder for each learner. Nothing in it tells an answer; the secret makes it again."""
    from bugzoo.learn.classroom import pack

    key, planned, learners = _common.read(roster, plan, secret)
    made = pack.write(Path(out), key, planned, learners)
    click.echo(f"wrote {len(made)} folders of {len(planned.slots)} exercises to {out}")
