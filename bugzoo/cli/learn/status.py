"""bugzoo learn status: where you are, for people and for prompts. No torch."""

import json

import click

from bugzoo.cli.learn import _common


@click.command("status", short_help="Where you are.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@_common.workspace
def command(as_json: bool, folder: str, plain: bool) -> None:
    """The parts of the path, what is open, what is due."""
    from bugzoo.learn import screen
    from bugzoo.learn.log import today

    held = _common.session(folder)
    progress = held.progress
    if not as_json:
        _common.show(screen.welcome(progress, str(held.folder)))
        return
    current = progress.open_one()
    data = {
        "open": {"mode": current.mode, "code": current.code} if current else None,
        "solved": len(progress.solved),
        "path": {"done": len(progress.done_steps), "of": 30},
        "due": progress.due(today()),
        "families": {f: {"box": b.box, "due": b.due} for f, b in sorted(progress.families.items())},
    }
    click.echo(json.dumps(data, indent=2))
