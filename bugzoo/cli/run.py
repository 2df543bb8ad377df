"""bugzoo run: score every detector on every specimen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bugzoo.cli import _shared

if TYPE_CHECKING:
    from rich.progress import Progress

    from bugzoo.catalog import Catalog


def many(name: str, text: str):
    return click.option(f"--{name}", multiple=True, metavar="GLOB", help=f"{text} (repeatable)")


@click.command("run", short_help="Score detectors on specimens; print and write the reports.")
@many("detector", "Only these detectors")
@many("specimen", "Only these specimens, with their correct twins")
@many("family", "Only bugs of these families, with their correct twins")
@many("case", "Only these cases")
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="N",
    help="Seeds of the inputs (repeatable). [default: 0]",
)
@click.option("--mutants", metavar="N", help="Also a sample of N frozen mutants, and N/5 harmless.")
@click.option("--mutant-seed", default="0", metavar="S", help="Of that sample.  [default: 0]")
@click.option(
    "--jobs", "-j", default="", metavar="N", help="Worker processes. [default: the cores]"
)
@click.option(
    "--timeout", default="30", show_default=True, metavar="SECONDS", help="Limit of a cell."
)
@click.option(
    "--out", default="results", show_default=True, metavar="DIR", help="Where results go."
)
@click.option("--resume", is_flag=True, help="Skip cells that --out holds already, by content.")
@click.option("--no-report", is_flag=True, help="Only the trials: no CSV, Markdown and HTML.")
@_shared.files
def command(
    detector: tuple[str, ...],
    specimen: tuple[str, ...],
    family: tuple[str, ...],
    case: tuple[str, ...],
    seeds: tuple[str, ...],
    mutants: str | None,
    mutant_seed: str,
    jobs: str,
    timeout: str,
    out: str,
    resume: bool,
    no_report: bool,
    specimens: tuple[str, ...],
    detectors: tuple[str, ...],
    keep_going: bool,
) -> None:
    """Run every detector on every specimen, its correct twin and every control, in every case.

    The oracle decides first what is wrong where. Options choose by glob, e.g. --specimen 'relu/*'.
    """
    from bugzoo.trials import frame, plan, runner

    found = _shared.load(specimens, detectors, keep_going)
    if mutants is not None:
        _add_mutants(
            found,
            _shared.whole("--mutants", mutants, 1),
            _shared.whole("--mutant-seed", mutant_seed, 0),
            specimen,
        )
    chosen = plan.select(
        found, detector=detector, specimen=specimen, family=family, case=case, seed=seeds or ("0",)
    )
    with _progress() as bar:
        tasks: dict[str, object] = {}

        def progress(total: int, done: int, text: str) -> None:
            if text not in tasks:
                tasks[text] = bar.add_task(text, total=total)
            bar.update(tasks[text], total=total, completed=done)  # type: ignore[arg-type]

        path = runner.run(
            found, chosen, out=out, jobs=jobs, timeout=timeout, resume=resume, progress=progress
        )
    results = frame.load(path)
    click.echo(_shared.table(results, "scoreboard"))
    if not no_report:
        from reports import _write

        for written in _write.write(results, path.parent):
            click.echo(f"wrote {written}")


def _add_mutants(found: Catalog, count: int, seed: int, globs: tuple[str, ...]) -> None:
    """Broken ones, and a fifth as many harmless ones, on which an alarm is false."""
    from bugzoo.mutation import frozen

    drawn = frozen.specimens(found, count, seed, globs=globs)
    drawn += frozen.specimens(found, count // 5, seed, healthy=True, globs=globs)
    found.specimens.update({s.id: s for s in drawn})


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
