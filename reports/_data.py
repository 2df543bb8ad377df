"""What the page's script needs, as compact JSON: the matrix, and what was said in every case.

bugs   [id, family, channel, states], one letter a detector: the first of the state's word,
       C where every awake case is caught
cases  specimen -> [case, awake, in training]
cells  specimen -> [detector, case, outcomes of the seeds, score, reason, place]; detectors, cases
       and texts as indices
"""

import json
from typing import Any

import pandas as pd

from bugzoo.trials.frame import Results
from reports import _text, _units

LONGEST = 240  # letters of a reason on the page; the store and the CSV files keep all of it


def as_json(data: Any) -> str:
    """JSON that cannot end a script element."""
    made = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return made.replace("<", "\\u003c")


def data(results: Results, states: pd.DataFrame, order: list[str]) -> dict[str, Any]:
    """All of it; `order` is that of the detectors."""
    number = {name: n for n, name in enumerate(order)}
    letters: dict[str, list[str]] = {}
    for row in states.to_dict("records"):
        full = row["state"] == "caught" and row["caught"] == row["awake"]
        listed = letters.setdefault(row["specimen"], ["n"] * len(order))
        listed[number[row["detector"]]] = "C" if full else row["state"][0]
    labels = states.drop_duplicates("specimen").sort_values(["family", "specimen"])
    pool = _Pool()
    cases = _cases(results)
    return {
        "detectors": order,
        "bugs": [
            [b["specimen"], b["family"], b["channel"], "".join(letters[b["specimen"]])]
            for b in labels.to_dict("records")
        ],
        "cases": cases,
        "cells": _cells(results.trials, number, cases, pool),
        "texts": pool.texts,
    }


class _Pool:
    """Texts that are said more than once are kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = [""]
        self.index = {"": 0}

    def __call__(self, words: str) -> int:
        short = words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
        if short not in self.index:
            self.index[short] = len(self.texts)
            self.texts.append(short)
        return self.index[short]


def _cases(results: Results) -> dict[str, list[list[Any]]]:
    """The cases of every specimen, in the order of its file."""
    found = results.trials.drop_duplicates(["specimen", "case"]).sort_values(["specimen", "case"])
    made: dict[str, list[list[Any]]] = {}
    for row in found.to_dict("records"):
        entry = [row["case"], int(row["awake"]), int(row["view"] == "training")]
        made.setdefault(row["specimen"], []).append(entry)
    for specimen, cases in made.items():
        listed = [c["name"] for c in results.specimens.get(specimen, {}).get("cases", [])]
        cases.sort(key=lambda c: (listed.index(c[0]) if c[0] in listed else len(listed), c[0]))
    return made


def _cells(
    trials: pd.DataFrame, number: dict[str, int], cases: dict[str, list[list[Any]]], pool: _Pool
) -> dict[str, list[list[Any]]]:
    """One entry for the seeds of a cell; score and reason are those of the first that alarms, or
    else of the commonest outcome. On healthy specimens only alarms and failures keep a reason.
    """
    columns = [
        "specimen",
        "detector",
        "case",
        "seed",
        "twin",
        "outcome",
        "score",
        "because",
        "where",
    ]
    some = _units.ran(trials)[columns].sort_values(columns[:4])
    groups: dict[tuple, list[tuple]] = {}
    for row in some.itertuples(index=False, name=None):
        groups.setdefault(row[:3], []).append(row[4:])
    places = {s: {case: n for n, (case, *_) in enumerate(listed)} for s, listed in cases.items()}
    made: dict[str, list[list[Any]]] = {}
    for (specimen, detector, case), seeds in groups.items():
        said = [outcome for _, outcome, *_ in seeds]
        common = "alarm" if "alarm" in said else max(said, key=said.count)
        twin, _, score, because, where = seeds[said.index(common)]
        keep = twin == "broken" or common not in ("clear", "abstain")
        place = [number[detector], places[specimen][case], "".join(map(_letter, said))]
        texts = [pool(because), pool(where)] if keep else [0, 0]
        made.setdefault(specimen, []).append([*place, _text.cell(float(score)), *texts])
    return made


def _letter(outcome: str) -> str:
    return "+" if outcome == "alarm" else "-" if outcome == "clear" else outcome[0]
