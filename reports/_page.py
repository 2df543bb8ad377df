"""The one offline page: everything that the template needs, as plain values.

Nothing is loaded from anywhere: style, script, pictures and data are inside the file. What every
detector said of every case is compact JSON; the script builds those tables when they are opened.
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bugzoo.model import CHANNELS, FAMILIES
from bugzoo.trials.frame import OUTCOMES, Results
from reports import _code, _data, _plot, _text, _units
from reports._facts import facts
from reports.scoreboard import scoreboard

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = {"needs": [], "claims": [], "cost": "", "blind_to": "", "thresholds": {}, "doc": ""}


def page(results: Results, frames: dict[str, tuple[str, str, pd.DataFrame]]) -> str:
    """The page; `frames` holds the tables: name -> sentence, note, frame."""
    board = scoreboard(results.trials)
    order = [*board["detector"], *sorted(set(results.detectors) - set(board["detector"]))]
    states = _units.bugs(results.trials)
    links = _links(results, order)
    shown = {n: t for n, t in frames.items() if not _text.is_states(t[2])}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "python": _code.python,
        "diff": _code.diff,
        "prose": _code.prose,
        "up": _plot.up,
    }
    return environment.get_template("page.html.j2").render(
        css=Markup(_file("page.css") + _code.css()),
        script=Markup(_file("page.js")),
        data=Markup(_data.as_json(_data.data(results, states, order))),
        facts=facts(results.meta),
        lies=results.meta.get("lies", []),
        sums=_sums(results, states),
        tables=[_table(n, *t, links) for n, t in shown.items()],
        plots=_plots(results.trials, board),
        detectors=[(name, UNKNOWN | results.detectors.get(name, {})) for name in order],
        bugs=_bugs(results, states),
        healthy=_healthy(results),
        families={f: FAMILIES.get(f, "") for f in sorted(states["family"].unique())},
        channels={c: CHANNELS.get(c, "") for c in sorted(states["channel"].unique())},
        states=_units.STATES,
        outcomes=OUTCOMES,
    )


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _links(results: Results, detectors: list[str]) -> dict[str, str]:
    """A cell that holds one of these is a link."""
    specimens = {name: f"#specimen/{name}" for name in results.specimens}
    return specimens | {name: f"#detector/{name}" for name in detectors}


def _sums(results: Results, states: pd.DataFrame) -> dict[str, int]:
    """The numbers of the first sentence."""
    scored = _units.scored(states)
    caught = scored["state"].eq("caught").groupby(scored["specimen"]).sum()
    return {
        "bugs": int(states["specimen"].nunique()),
        "healthy": int(
            results.trials.loc[results.trials["twin"].ne("broken"), "specimen"].nunique()
        ),
        "detectors": int(results.trials["detector"].nunique()),
        "trials": len(results.trials),
        "scored": len(caught),
        "nobody": int(caught.eq(0).sum()),
        "alone": int(caught.eq(1).sum()),
    }


def _table(name: str, sentence: str, note: str, frame: pd.DataFrame, links: dict) -> dict[str, Any]:
    """Rows of cells (text, sort value, link); with an interval, its (low, recall, high) beside each."""
    columns = [(str(c), pd.api.types.is_numeric_dtype(frame[c])) for c in frame.columns]
    rows = [
        [(_text.cell(v, c), _sortable(v), links.get(v)) for v, (c, _) in zip(row, columns)]
        for row in frame.itertuples(index=False, name=None)
    ]
    interval = {"low", "recall", "high"} <= set(frame.columns)
    whiskers = (
        frame[["low", "recall", "high"]].to_numpy().tolist() if interval else [None] * len(rows)
    )
    return {
        "name": name,
        "title": name.replace("_", " "),
        "sentence": sentence,
        "note": note,
        "columns": columns,
        "rows": list(zip(rows, whiskers)),
        "interval": interval,
    }


def _sortable(value: Any) -> str:
    """What the script sorts by: '' for NaN, which always comes last."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return str(value)


def _plots(trials: pd.DataFrame, board: pd.DataFrame) -> list[_plot.Plot]:
    runs = _units.ran(trials)
    passes = (runs["forwards"] + runs["backwards"]).groupby(runs["detector"]).median()
    counted = board["detector"].map(passes.to_dict()).astype(float)
    seconds = board["median seconds"].astype(float)
    made = [
        _plot.against(board, seconds, "median seconds of a run"),
        _plot.against(board, counted, "median passes of a run, forward and backward", zero=True),
    ]
    return [p for p in made if p.points]


def _bugs(results: Results, states: pd.DataFrame) -> list[dict[str, Any]]:
    """Broken twins by family, then by name, with their witnesses and how many detectors catch them."""
    scored = _units.scored(states)
    could = scored.groupby("specimen").size()
    caught = scored[scored["state"].eq("caught")].groupby("specimen").size()
    witnesses = dict(list(results.truth.groupby("specimen"))) if len(results.truth) else {}
    broken = [(n, s) for n, s in results.specimens.items() if s["twin"] == "broken"]
    return [
        {
            **about,
            "name": name,
            "could": int(could.get(name, 0)),
            "caught": int(caught.get(name, 0)),
            **_witnesses(witnesses.get(name)),
        }
        for name, about in sorted(broken, key=lambda pair: (pair[1]["family"], pair[0]))
    ]


def _witnesses(truth: pd.DataFrame | None) -> dict[str, Any]:
    """Awake rows as they are; the others only as pairs (channels, cases) in which nothing was seen."""
    if truth is None:
        return {"awake": [], "quiet": [], "probes": 0, "loud": False}
    awake = truth["awake"].eq(True)
    rows = truth[awake].sort_values(["channel", "case"]).to_dict("records")
    for row in rows:
        row["error"] = _text.cell(float(row["error"]))
    seen = set(truth.loc[awake, "channel"])
    channels: dict[str, list[str]] = {}
    for channel, quiet in truth[~awake].groupby("channel", sort=False):
        cases = ", ".join(quiet["case"]) if channel in seen else "every case"
        channels.setdefault(cases, []).append(str(channel))
    return {
        "awake": rows,
        "quiet": [(", ".join(names), cases) for cases, names in channels.items()],
        "probes": int(truth["probes"].max()),
        "loud": bool(truth["loud"].eq(True).any()),
    }


def _healthy(results: Results) -> list[dict[str, Any]]:
    """Controls, then correct twins, by name, with how many detectors alarm."""
    found = _units.healthy(results.trials)
    alarmed = found[found["alarmed"]].groupby("specimen").size()
    well = [(n, s) for n, s in results.specimens.items() if s["twin"] != "broken"]
    return [
        {**about, "name": name, "alarmed": int(alarmed.get(name, 0))}
        for name, about in sorted(well, key=lambda p: (p[1]["twin"] != "control", p[0]))
    ]
