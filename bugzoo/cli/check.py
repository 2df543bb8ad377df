"""bugzoo check: is the backward pass of your own operation right?"""

from __future__ import annotations

import json

import click

from bugzoo.cli import _address


@click.command("check", short_help="Examine the backward pass of your own operation.")
@click.argument("operation", metavar="FILE.py::FN")
@click.option(
    "--inputs",
    required=True,
    metavar="FILE.py::MAKER",
    help="A function of a seed that returns the inputs.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop after this time, and say what was not done; 0: the core alone, 12 passes.",
)
@click.option(
    "--declare",
    multiple=True,
    metavar="WORD",
    help="straight_through or stop_gradient (repeatable).",
)
@click.option("--seed", default=0, show_default=True, help="Seed of inputs and probes.")
@click.option(
    "--second-order", is_flag=True, help="Examine the derivative of the gradient in any case."
)
@click.option("--json", "as_json", is_flag=True, help="One object.")
def command(
    operation: str,
    inputs: str,
    budget: float | None,
    declare: tuple[str, ...],
    seed: int,
    second_order: bool,
    as_json: bool,
) -> None:
    """Examine FN, a function, an autograd.Function or a module, at inputs derived from MAKER's.

    MAKER may name the file again, or be a plain name in the same file. Exit code 1 on a finding.
    """
    import torch

    from bugzoo.checkup.check import check

    torch.set_num_threads(1)
    fn = _address.named(operation, "operation")
    maker = _address.named(
        inputs if "::" in inputs else f"{operation.partition('::')[0]}::{inputs}", "--inputs"
    )
    found = check(fn, maker, budget=budget, declare=declare, seed=seed, second_order=second_order)
    click.echo(json.dumps(found.to_dict(), indent=2, default=str) if as_json else str(found))
    if not found.ok:
        raise SystemExit(1)
