"""From trials to what is counted. A bug is one unit: its trials are correlated, so they only vote.

cells(trials)    a row for each detector, specimen, view and case: how the seeds voted
bugs(trials)     a row for each detector and bug: its state
healthy(trials)  a row for each detector and correct twin or control: alarmed or not

A cell alarms when more than half of its seeds do; a seed that failed is one that did not alarm.
"""

import pandas as pd

from bugzoo.model import NOT_INSTALLED

STATES = {
    "caught": "alarm in at least one case where the bug is awake",
    "missed": "the detector looked where the bug is awake, and did not alarm",
    "abstained": "it did not want to say in any case where the bug is awake",
    "failed": "raised, error, timeout or crash in every case where the bug is awake",
    "loud": "the pass raises by itself wherever the bug is awake: scored apart",
    "dormant": "the bug is awake in no case that the detector could run",
    "not applicable": "not run on it: the subject lacks what it needs, or the run was cut off",
}
SCORED = ("caught", "missed", "abstained", "failed")  # the states that recall is taken over
FAILED = ("raised", "error", "timeout", "crash")
_KEY = ["detector", "specimen", "view", "case"]
_KEPT = ["twin", "family", "channel", "awake", "loud", "claimed"]


def is_mutant(trials: pd.DataFrame) -> pd.Series:
    """Which trials are about a frozen mutant: they are counted apart from bugs made by hand."""
    return trials["group"].eq("mutants")


def handmade(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials without those about mutants."""
    return trials[~is_mutant(trials)]


def installed(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials without those of detectors whose peer was not there to be run."""
    return trials[~trials["because"].str.startswith(NOT_INSTALLED, na=False)]


def ran(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials in which the detector had something to look at."""
    return trials[trials["outcome"].ne("not_applicable")]


def cells(trials: pd.DataFrame) -> pd.DataFrame:
    """Votes of the seeds. `silent`: awake, and the pass does not raise by itself."""
    some = ran(trials)
    votes = some[_KEY + _KEPT].assign(
        runs=1,
        alarms=some["outcome"].eq("alarm").astype(int),
        clears=some["outcome"].eq("clear").astype(int),
        abstains=some["outcome"].eq("abstain").astype(int),
    )
    sums = dict.fromkeys(("runs", "alarms", "clears", "abstains"), "sum")
    how = dict.fromkeys(_KEPT, "first") | sums
    made = votes.groupby(_KEY, sort=True).agg(how).reset_index()
    for flag in ("awake", "loud", "claimed"):
        made[flag] = made[flag].eq(True)
    made["silent"] = made["awake"] & ~made["loud"]
    made["alarmed"] = made["alarms"] * 2 > made["runs"]
    return made


def bugs(trials: pd.DataFrame) -> pd.DataFrame:
    """One of STATES for every detector and bug, also for the pairs that never ran.

    `awake` and `caught` count the cases where the bug is awake and silent, and those of them that
    alarm; `claimed` says that one of them shows in a channel that the detector claims.
    """
    broken = trials[trials["twin"].eq("broken")]
    found = cells(broken)
    silent = found[found["silent"]]
    pair = ["detector", "specimen"]
    sums = pd.DataFrame(
        {
            "awake": silent.groupby(pair)["silent"].sum(),
            "caught": silent[silent["alarmed"]].groupby(pair)["silent"].sum(),
            "answers": (silent["alarms"] + silent["clears"])
            .groupby([silent[k] for k in pair])
            .sum(),
            "abstains": silent.groupby(pair)["abstains"].sum(),
            "claimed": silent.groupby(pair)["claimed"].sum(),
            "loud": found[found["loud"]].groupby(pair)["loud"].sum(),
            "cells": found.groupby(pair)["runs"].count(),
        }
    )
    labels = broken.groupby("specimen")[["family", "channel"]].first()
    every = pd.MultiIndex.from_product(
        [sorted(trials["detector"].unique()), sorted(labels.index)], names=pair
    )
    made = sums.reindex(every).fillna(0).astype(int).reset_index()
    made = made.join(labels, on="specimen")
    made["state"] = [_state(row) for row in made.to_dict("records")]
    made["claimed"] = made["claimed"] > 0
    return made[[*pair, "family", "channel", "state", "awake", "caught", "claimed"]]


HEALTHY = ("correct", "control")  # code with sick gradients is neither broken nor healthy


def healthy(trials: pd.DataFrame) -> pd.DataFrame:
    """Correct twins and controls that a detector ran on, and whether it called them broken."""
    found = cells(trials[trials["twin"].isin(HEALTHY)])
    made = found.groupby(["detector", "specimen"], sort=True).agg(
        {"twin": "first", "alarmed": "any", "alarms": "sum", "runs": "sum"}
    )
    return made.reset_index()


def scored(states: pd.DataFrame) -> pd.DataFrame:
    """The rows of `bugs` that count: applicable, awake and silent."""
    return states[states["state"].isin(SCORED)]


def _state(row: dict) -> str:
    if not row["cells"]:
        return "not applicable"
    if not row["awake"]:
        return "loud" if row["loud"] else "dormant"
    if row["caught"]:
        return "caught"
    if row["answers"]:
        return "missed"
    return "abstained" if row["abstains"] else "failed"
