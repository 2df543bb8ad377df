"""The one table, and what stands beside it. Read from a results file without torch.

results(path)        -> DataFrame, one row a trial, the columns of COLUMNS
load(path)           -> Results: trials, truth, specimens, detectors, meta
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

COLUMNS: dict[str, str] = {
    "key": "sha256 of everything that can change this row; with --resume no finished key is run again",
    "detector": "name of the detector",
    "specimen": "id of the implementation under test, e.g. layer_norm/batch_mean",
    "base": "id of the correct implementation it derives from; its own id where it is one",
    "file": "file stem of the specimen: twins of one file share it",
    "group": "folder: operations, engines, loops, controls, or a third party's",
    "kind": "operation or loop",
    "view": "operation or training: what the detector was given; the case decides",
    "twin": "broken, correct, control, or sick: right code whose gradients are sick, scored apart",
    "family": "bug family of a broken twin, '' otherwise",
    "channel": "channel named by the label of a broken twin, '' otherwise",
    "operator": "mutation operator that made a frozen mutant, '' for what people wrote",
    "case": "name of the case or context",
    "seed": "integer; the inputs of a trial depend on file, case and seed, never on twin or detector",
    "awake": "the oracle sees a defect in this case, in any channel",
    "awake_in": "the channels in which it does, comma separated, '' when dormant",
    "loud": "the pass raises by itself in this case: scored apart from silent bugs",
    "claimed": "at least one awake channel is among those that the detector claims",
    "outcome": "alarm, clear, abstain; not_applicable; raised, error, timeout, crash",
    "score": "larger = more suspicious; NaN where there is no verdict",
    "because": "the detector's reason in numbers; for a failed cell the error",
    "where": "input, parameter, layer or step, when the detector can tell",
    "seconds": "wall time of the detector in this cell",
    "forwards": "forward passes of the subject that the detector spent",
    "backwards": "backward passes of the subject that the detector spent",
}

OUTCOMES: dict[str, str] = {
    "alarm": "the detector calls the subject broken",
    "clear": "the detector calls it right",
    "abstain": "the detector looked and does not want to say",
    "not_applicable": "the subject does not offer what the detector needs, or the peer that it drives "
    "is not installed: neither hit nor miss",
    "raised": "the subject itself raised under the detector, or an error where it is loud: scored apart",
    "error": "the detector raised, ran out of memory or gave no valid verdict: never a detection",
    "timeout": "the cell did not end in time: never a detection",
    "crash": "the worker process died: never a detection",
}


@dataclass(frozen=True)
class Results:
    """Everything a report may use.

    trials     COLUMNS, one row a trial, sorted by detector, specimen, case, seed
    truth      specimen, case, channel, awake, loud, probe, words, error, reference, probes:
               one row for each channel that the oracle asked; `probes` is 0 where its worker
               did not survive the specimen: that is a loud bug
    specimens  id -> {kind, twin, group, file, base, operator, family, channel, wrong, story, shown_by,
               hidden_by, seen, looks, right, cases: [{name, about}], diff, text, wrong_lines};
               `diff` is a unified diff from the correct twin ('' for healthy ones), `text` the
               standalone source, `story` the class docstring, `seen`/`shown_by`/... lists of str
    detectors  name -> {needs, claims, cost, blind_to, thresholds: {name: source}, doc, peer}
    meta       versions (bugzoo, torch, numpy, python, platform), seeds, jobs, timeout, selection,
               started, wall_seconds (absent when the run was cut off), cells, oracle_seconds,
               lies: a line for each claim of a label that the oracle does not bear out;
               absent: peers that were not installed
    """

    trials: pd.DataFrame
    truth: pd.DataFrame
    specimens: dict[str, dict[str, Any]]
    detectors: dict[str, dict[str, Any]]
    meta: dict[str, Any]


def results(path: str | Path) -> pd.DataFrame:
    """The trials of a run as a DataFrame; `path` is a results folder or the file inside it."""
    return load(path).trials


def load(path: str | Path) -> Results:
    """Read a results folder or file. Raises UserError when it is missing, truncated, or not ours."""
    from bugzoo.trials.store import read

    return read(path)
