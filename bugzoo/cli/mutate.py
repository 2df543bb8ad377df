"""bugzoo mutate: how many wrong versions of your own code do your own tests notice?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bugzoo.cli import _shared
from bugzoo.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command(
    "mutate",
    short_help="Breed wrong versions of your own code; do your tests notice?",
    context_settings={"ignore_unknown_options": False},
)
@click.argument("target", metavar="FILE.py::NAME")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- pytest ...]")
@click.option("--inputs", default="", metavar="FILE::MAKER", help="Inputs as a function of a seed.")
@click.option(
    "--detectors",
    default="gradcheck,random_direction",
    show_default=True,
    metavar="NAMES",
    help="Scored where there is no test command.",
)
@click.option("--sample", metavar="N", help="Only N mutants, spread over the operators.")
@click.option("--pairs", metavar="N", help="Instead, N mutants of two operators each.")
@click.option(
    "--seed", default="0", show_default=True, metavar="S", help="Of the sample and the pairs."
)
@click.option("--since", default="", metavar="REV", help="Only functions changed since a revision.")
@click.option("--resume", is_flag=True, help="Keep verdicts in --out that are still true.")
@click.option("--fail-under", metavar="PERCENT", help="Exit code 1 when the score is lower.")
@click.option(
    "--timeout-factor",
    default="5",
    show_default=True,
    metavar="X",
    help="Limit of the tests: X times the unmutated, and 3 s.",
)
@click.option("--jobs", "-j", default="", metavar="N", help="Forks at a time. [default: the cores]")
@click.option(
    "--out", default="mutation", show_default=True, metavar="DIR", help="Where the reports go."
)
@click.option(
    "--show", default="10", show_default=True, metavar="N", help="Survivors that are printed."
)
@click.option("--json", "as_json", is_flag=True, help="One object instead of text.")
def command(
    target: str,
    command: tuple[str, ...],
    inputs: str,
    detectors: str,
    sample: str | None,
    pairs: str | None,
    seed: str,
    since: str,
    resume: bool,
    fail_under: str | None,
    timeout_factor: str,
    jobs: str,
    out: str,
    show: str,
    as_json: bool,
) -> None:
    """Mutate the autograd.Function, module or training step NAME, and run your tests on each mutant.

    \b
      bugzoo mutate my_ops.py::MyFn -- pytest -x tests/
      bugzoo mutate my_ops.py::MyFn --inputs my_ops.py::make_inputs

    The file is never modified. Mutants equal to the original on all probes do not count.
    """
    from pathlib import Path

    from bugzoo.mutation.project import page, text
    from bugzoo.mutation.project.run import Plan, mutate

    limit = _number("--fail-under", fail_under, 0, 100) if fail_under is not None else None
    plan = Plan(
        words=target,
        command=command,
        inputs=inputs,
        detectors=tuple(name.strip() for name in detectors.split(",") if name.strip()),
        sample=None if sample is None else int(_number("--sample", sample, 1, 10**6, whole=True)),
        pairs=None if pairs is None else int(_number("--pairs", pairs, 1, 10**6, whole=True)),
        seed=int(_number("--seed", seed, 0, 2**31, whole=True)),
        since=since,
        resume=resume,
        out=out,
        factor=_number("--timeout-factor", timeout_factor, 1, 1000),
        jobs=int(_number("--jobs", jobs, 1, 256, whole=True)) if jobs else _cores(),
    )
    most = int(_number("--show", show, 0, 10**6, whole=True))
    with _progress() as bar:
        task = bar.add_task("breeding", total=None)

        def progress(total: int, done: int, words: str) -> None:
            bar.update(task, description=words, total=total or None, completed=done)

        found = mutate(plan, progress)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        click.echo(text.text(found, most))
    for written in page.write(found, Path(out)):
        click.echo(f"wrote {written}", err=as_json)
    if limit is not None and not found.percent >= limit and found.counted:
        click.echo(f"bugzoo: the score {found.percent:.1f} is under {limit:g}", err=True)
        raise SystemExit(1)


def _cores() -> int:
    """Cores that this process may use; `trials.pool`, which knows it too, would import torch."""
    import os

    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _number(name: str, value: str, low: float, high: float, whole: bool = False) -> float:
    """The number that an option was given. UserError where it is none, or absurd."""
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{name} {value}: expected {kind} from {low:g} to {high:g}")
    return number


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_shared.console(stderr=True),
        transient=True,
    )
