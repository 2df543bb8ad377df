"""All reports of a run in one folder: a CSV file a table, report.md, report.html.

The same Results give the same bytes: nothing here reads the clock, the machine or the network.
"""

from dataclasses import replace
from pathlib import Path

from bugzoo.errors import UserError
from bugzoo.trials.frame import Results
from reports import _scan, _text, _units
from reports._facts import facts


def write(results: Results, folder: str | Path) -> list[Path]:
    """Write every report into `folder`, made if need be; returns the paths.

    Raises UserError where the folder cannot be written.
    """
    from reports import _page  # jinja2 and pygments only where a page is made

    home = Path(folder)
    frames = {t.name: (t.sentence, t.note, t(results.trials)) for t in _scan.tables().values()}
    files = {f"{name}.csv": _text.csv(frame) for name, (_, _, frame) in frames.items()}
    files["report.md"] = _markdown(results, frames)
    files["report.html"] = _page.page(_handmade(results), frames)
    try:
        home.mkdir(parents=True, exist_ok=True)
        for name, words in files.items():
            (home / name).write_text(words, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{home}: the reports cannot be written: {error.strerror}") from None
    return [home / name for name in files]


def _handmade(results: Results) -> Results:
    """Without the mutants, which have a table and no place of their own on the page, and without
    the detectors whose peer was not installed."""
    specimens = {i: s for i, s in results.specimens.items() if s["group"] != "mutants"}
    truth = results.truth
    trials = _units.installed(results.trials)
    gone = set(results.trials["detector"]) - set(trials["detector"])
    return replace(
        results,
        trials=_units.handmade(trials),
        detectors={n: d for n, d in results.detectors.items() if n not in gone},
        truth=truth[truth["specimen"].isin(specimens)] if len(truth) else truth,
        specimens=specimens,
    )


def _markdown(results: Results, frames: dict) -> str:
    parts = ["# bugzoo report", "; ".join(f"{name} {value}" for name, value in facts(results.meta))]
    for name, (sentence, note, frame) in frames.items():
        parts += [f"## {name.replace('_', ' ')}", sentence, _text.markdown(frame).rstrip(), note]
    return "\n\n".join(p for p in parts if p) + "\n"
