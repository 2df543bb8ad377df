"""bugzoo learn: the school. One file a verb; the first screen needs no torch."""

from __future__ import annotations

import click

from bugzoo.cli._group import Verbs
from bugzoo.cli.learn import _common


class _Learn(Verbs):
    """The verbs of this folder."""

    package, home = __name__, __path__


@click.group(
    "learn",
    cls=_Learn,
    invoke_without_command=True,
    short_help="The school: find, repair and detect wrong gradients.",
)
@_common.workspace
@click.pass_context
def command(ctx: click.Context, folder: str, plain: bool) -> None:
    """Find a wrong gradient from its symptoms, repair it, write a check that catches it.

    Without a verb: the exercise that is open, checked whenever you save it.

    \b
      bugzoo learn next                 what comes next: open, due, or on the path
      bugzoo learn look onehot          find: buy a reading
      bugzoo learn answer 13 scaling    find: name the line and the kind
      bugzoo learn check                fix, detect, plant: run it once
    """
    if ctx.invoked_subcommand is None:
        from bugzoo.cli.learn import _watch

        _watch.run(_common.session(folder), plain)
