"""bugzoo verify: every claim of every label is proved by the oracle."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bugzoo.cli import _shared, _workers
from bugzoo.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from bugzoo.catalog import Catalog
    from bugzoo.model import Specimen
    from bugzoo.mutation.frozen import Frozen
    from bugzoo.oracle.claims import Claim


@click.command("verify", short_help="Prove every claim of every label; exit 1 on any lie.")
@click.argument("patterns", nargs=-1, metavar="[SPECIMEN]...")
@click.option(
    "--seeds", default=3, type=click.IntRange(1, 100), help="Probes a case.  [default: 3]"
)
@click.option("--quiet", "-q", is_flag=True, help="Only lies and the last line.")
@click.option("--mutants", is_flag=True, help="The frozen mutants instead of the labels.")
@click.option("--sample", default="300", metavar="N", help="So many of them.  [default: 300]")
@click.option("--seed", default="0", metavar="S", help="Of the sample.  [default: 0]")
@click.option("--all", "every_one", is_flag=True, help="All of them.")
@click.option("--set", "name", default="", metavar="FILE", help="Another set than ours.")
@click.option(
    "--jobs", "-j", default="", metavar="N", help="Processes for mutants. [default: the cores]"
)
@click.option("--json", "as_json", is_flag=True, help="An array of claims.")
@_shared.files
def command(
    patterns: tuple[str, ...],
    seeds: int,
    quiet: bool,
    mutants: bool,
    sample: str,
    seed: str,
    every_one: bool,
    name: str,
    jobs: str,
    as_json: bool,
    specimens: tuple[str, ...],
    detectors: tuple[str, ...],
    keep_going: bool,
) -> None:
    """Ask the oracle about every specimen, or those that match the globs SPECIMEN.

    A broken twin must differ where `shown_by` says so and be equal where `hidden_by` says so;
    correct twins and controls must be equal everywhere. Exit code 1 when any claim is a lie.

    With --mutants, a seeded sample of the frozen mutants must be wrong where the set says so.
    """
    import torch

    from bugzoo.oracle.claims import claims

    torch.set_num_threads(1)
    found = _shared.load(specimens, detectors, keep_going)
    if mutants:
        count = None if every_one else _shared.whole("--sample", sample, 1)
        _mutants(found, name, count, _shared.whole("--seed", seed, 0), patterns, quiet, jobs)
        return
    out = _shared.console()
    every: list[Claim] = []
    for specimen in _chosen(found, patterns):
        made = list(claims(specimen, seeds))
        every += made
        if not as_json:
            _print(out, specimen, made, quiet)
    lies = [c for c in every if not c.holds]
    if as_json:
        click.echo(json.dumps([asdict(c) for c in every], indent=2))
    else:
        said = sum(bool(c.says) for c in every)
        count = len({c.specimen for c in every})
        verdict = f"{len(lies)} lies" if lies else "all true"
        out.print(f"{count} specimens, {len(every)} cases, {said} claims: {verdict}")
    if lies:
        raise SystemExit(1)


def _mutants(
    found: Catalog,
    name: str,
    count: int | None,
    seed: int,
    patterns: tuple[str, ...],
    quiet: bool,
    jobs: str,
) -> None:
    """Judge mutants of a frozen set again, wherever it calls them awake."""
    from collections import Counter
    from fnmatch import fnmatchcase

    from bugzoo.mutation import frozen
    from bugzoo.trials.pool import jobs_from

    out = _shared.console()
    listed = frozen.load(name or frozen.SET)
    gone = {m.name: why for m in listed if (why := frozen.retired(m, found))}
    used = [
        m
        for m in listed
        if m.silent
        and m.name not in gone
        and any(fnmatchcase(m.name, p) or fnmatchcase(m.specimen, p) for p in patterns or ("*",))
    ]
    drawn = used if count is None else frozen.drawn(used, count, seed)
    told = sorted(_workers.spread(_lies, drawn, jobs_from(jobs), chunk=8))
    lies = [lie for _, found_out in told for lie in found_out]
    for why, number in Counter(gone.values()).items():
        out.print(f"{number} retired: {why}", markup=False)
    if not quiet:
        for kind, number in Counter(m.kind for m in listed).most_common():
            out.print(f"{number:6} {kind}")
    for lie in lies:
        out.print(f"LIE {lie}", markup=False, soft_wrap=True, style="bold red")
    verdict = f"{len(lies)} lies" if lies else "all true"
    out.print(
        f"{len(listed)} mutants, {len(used)} silently wrong and in use, {len(gone)} retired; "
        f"{len(drawn)} judged again: {verdict}",
        soft_wrap=True,
    )
    if lies:
        raise SystemExit(1)


def _lies(catalog: Catalog, mutant: Frozen) -> list[str]:
    from bugzoo.mutation import frozen

    return list(frozen.lies(mutant, catalog))


def _chosen(found: Catalog, patterns: tuple[str, ...]) -> list[Specimen]:
    from fnmatch import fnmatchcase

    chosen: dict[str, Specimen] = {}
    for pattern in patterns or ("*",):
        matching = [s for s in found.specimens.values() if fnmatchcase(s.id, pattern)]
        if not matching:
            near = did_you_mean(pattern, found.specimens)
            raise UserError(f"unknown specimen '{pattern}'.{near} 'bugzoo list --all' shows all.")
        chosen |= {s.id: s for s in matching}
    return sorted(chosen.values(), key=lambda s: (s.group, s.file, s.twin == "broken", s.id))


def _print(out: Console, specimen: Specimen, made: list[Claim], quiet: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    if quiet and all(c.holds for c in made):
        return
    if specimen.label is None and all(c.holds for c in made):
        out.print(Text(specimen.id, style="bold"), f" right in {len(made)} cases", soft_wrap=True)
        return
    about = specimen.label.wrong if specimen.label else "must be right everywhere"
    out.print(Text(specimen.id, style="bold"), about)
    grid = Table.grid(padding=(0, 1))
    for width in (3, 6, 14):
        grid.add_column(min_width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    for claim in made:
        style = "" if claim.holds else "bold red"
        mark = "ok" if claim.holds else "LIE"
        grid.add_row(f"  {mark}", claim.says, claim.case, Text(claim.words), style=style)
    out.print(grid)
