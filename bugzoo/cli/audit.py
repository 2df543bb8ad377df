"""bugzoo audit: does each gradient of a training script arrive, once, and is it the right one?"""

from __future__ import annotations

import json

import click

from bugzoo.cli import _address


@click.command(
    "audit",
    short_help="Examine the gradients of your own training.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--seed", default=0, show_default=True, help="Seed of the global generators.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@click.argument("script", metavar="SCRIPT.py | FILE.py::MAKE_RUN")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def command(seed: int, as_json: bool, script: str, args: tuple[str, ...]) -> None:
    """Run the training of SCRIPT.py (with ARGS) about ten times, a few steps each, and examine it.

    The script stays as it is. With FILE.py::MAKE_RUN the function MAKE_RUN builds model, data and
    optimizer afresh and returns a callable that trains. Options come before the script; what
    the script prints is not shown. Exit code 1 on a finding.
    """
    import torch

    from bugzoo.auditor.audit import audit
    from bugzoo.auditor.script import script_run
    from bugzoo.errors import UserError

    torch.set_num_threads(1)
    if "::" in script:
        if args:
            raise UserError(
                f"{script}: arguments are for a script; MAKE_RUN takes none. Got {args[0]}"
            )
        make_run = _address.named(script, "make_run")
    else:
        make_run = script_run(script, args)
    found = audit(make_run, seed=seed)
    click.echo(json.dumps(found.to_dict(), indent=2, default=str) if as_json else str(found))
    if not found.ok:
        raise SystemExit(1)
