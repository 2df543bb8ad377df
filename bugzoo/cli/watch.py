"""bugzoo watch: run a training script as it is, and say what became of its gradients."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(
    "watch",
    short_help="Watch the training of a script that runs unchanged.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--every", default=1, show_default=True, metavar="N", type=click.IntRange(min=1),
              help="Norms and NaN of each N-th step only.")  # fmt: skip
@click.option("--json", "as_json", metavar="PATH", help="Write the log there, one object.")
@click.argument("script", metavar="TRAIN.py")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(every: int, as_json: str | None, script: str, args: tuple[str, ...]) -> None:
    """Run TRAIN.py with ARGS as its own, and watch every model and optimizer in it.

    Models are found at their first forward, optimizers at their first step. Exit code 1 on a finding,
    2 where the script fails or never steps.
    """
    from bugzoo.watcher.script import run

    log, failure = run(script, args, every=every)
    if log.steps:
        click.echo(str(log))
    if as_json:
        Path(as_json).write_text(json.dumps(log.to_dict(), indent=2, default=str))
    if failure:
        click.echo(f"bugzoo: {failure}", err=True)
        raise SystemExit(2)
    if not log.ok:
        raise SystemExit(1)
