"""bugzoo breed: derive mutants from every correct implementation, classify them, freeze them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from bugzoo.cli import _shared, _workers
from bugzoo.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from bugzoo.catalog import Catalog
    from bugzoo.mutation.frozen import Frozen


@click.command("breed", short_help="Derive mutants from every correct implementation.")
@click.option("--specimen", default="*", metavar="GLOB", help="Only from these.  [default: all]")
@click.option("--out", default="", metavar="FILE", help="Write the set to FILE, a .jsonl.gz.")
@click.option("--pairs", metavar="N", help="Instead, N mutants of two operators each, of each.")
@click.option("--seed", default="0", show_default=True, metavar="S", help="Of the pairs.")
@click.option(
    "--jobs", "-j", default="", metavar="N", help="Worker processes. [default: the cores]"
)
def command(specimen: str, out: str, pairs: str | None, seed: str, jobs: str) -> None:
    """Breed the first-order mutants of the correct implementations; the oracle classifies each.

    Prints how many there are by class and by operator. With --pairs, second-order mutants, spread
    over pairs of operators and functions.
    """
    from functools import partial

    from bugzoo.mutation import frozen
    from bugzoo.trials.pool import jobs_from

    if out and not out.endswith(".gz"):
        raise UserError(f"--out {out}: expected a name that ends in .jsonl.gz")
    names = _chosen(_shared.load(), specimen)
    second = None if pairs is None else _shared.whole("--pairs", pairs, 1)
    make = partial(_bred, second=second, seed=_shared.whole("--seed", seed, 0))
    found: list[Frozen] = []
    for done, (_, made) in enumerate(_workers.spread(make, names, jobs_from(jobs)), start=1):
        found += made
        click.echo(f"\r{done} of {len(names)} bred, {len(found)} mutants", err=True, nl=False)
    click.echo(err=True)
    _print(_shared.console(), found)
    awake = Counter(m.operator for m in found if m.silent)
    for operator, count in awake.most_common(1):
        if specimen == "*" and count > frozen.MOST * awake.total():
            share = f"{count / awake.total():.1%} of the awake mutants"
            raise UserError(f"{share} are of one operator, {operator}; at most {frozen.MOST:.0%}.")
    if out:
        frozen.write(out, found)
        click.echo(f"wrote {out}")


def _bred(catalog: Catalog, name: str, second: int | None, seed: int) -> list[Frozen]:
    from bugzoo.mutation import frozen

    return frozen.bred(catalog.specimens[name], second, seed)


def _chosen(found: Catalog, glob: str) -> list[str]:
    from fnmatch import fnmatchcase

    right = {s.id: s.file for s in found.specimens.values() if s.twin == "correct"}
    chosen = [i for i, file in right.items() if fnmatchcase(i, glob) or fnmatchcase(file, glob)]
    if not chosen:
        raise UserError(f"no correct implementation matches '{glob}'.{did_you_mean(glob, right)}")
    return chosen


def _print(out: Console, found: list[Frozen]) -> None:
    """By class and by operator; a pair counts for both of its operators."""
    from rich.table import Table

    from bugzoo.mutation.breed import PAIR

    kinds = Counter(m.kind for m in found)
    silent = [m for m in found if m.silent]
    bred = Counter(name for m in found for name in m.operator.split(PAIR))
    wrong = Counter(name for m in silent for name in m.operator.split(PAIR))
    for title, rows in (
        ("class", [(kind, n, sum(m.kind == kind for m in silent)) for kind, n in kinds.most_common()]),
        ("operator", [(name, n, wrong[name]) for name, n in sorted(bred.items())]),
    ):  # fmt: skip
        table = Table(title, "mutants", "silently wrong", box=None)
        for row in rows:
            table.add_row(*map(str, row))
        out.print(table)
    files = len({m.specimen for m in silent})
    out.print(f"{len(found)} mutants, {len(silent)} silently wrong, of {files} implementations")
