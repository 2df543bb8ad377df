"""Small made-up Results, the same on every call: no torch, no store, no random state.

`results()` holds one of everything that a report must cope with: a bug that nobody catches, one
that a single detector catches, a loud one, a loop, a control that draws an alarm, cells that
failed, seeds that disagree, and text that would break a page that does not escape it.
`large()` has the size of a full run.
"""

import hashlib
from itertools import product

import pandas as pd

from bugzoo.trials.frame import COLUMNS, Results

LABELS = {  # id -> family, channel, what is wrong
    "relu/closed_mask": (
        "masking-boundary",
        "value",
        "the mask is x >= 0 where it should be x > 0",
    ),
    "relu/writes_into_cotangent": (
        "saved-tensor-mutation",
        "side_effect",
        "the mask is written into the cotangent, which belongs to the consumer of y",
    ),
    "matmul/transposed_factor": ("wrong-math", "value", "dA is g @ B where g @ B' is right"),
    "matmul/returns_none": ("api-contract", "contract", "one slot too few: the engine raises"),
    "softmax/keeps_graph": ("memory-retention", "memory", "the output is kept on ctx as it is"),
    "accumulate/not_divided": (
        "scaling",
        "trajectory",
        "the loss is not divided by the micro-batches",
    ),
}
HEALTHY = {
    "relu/relu": "correct",
    "matmul/matmul": "correct",
    "softmax/softmax": "correct",
    "accumulate/accumulate": "correct",
    "hard_tanh/kink_at_one": "control",
    "deep_chain/vanishing": "sick",
}
DETECTORS = {  # name -> needs, claims, forwards, backwards, seconds
    "difference": (["operation"], ["value"], 24, 1, 0.012),
    "layout_probe": (["operation"], ["value", "side_effect"], 3, 3, 0.002),
    "loss_curve": (["training"], ["trajectory"], 24, 24, 0.21),
    "reads_source": (["source"], ["value", "contract"], 0, 0, 0.0004),
    "always_alarms": (["operation"], ["value", "memory"], 1, 0, 0.0001),
}
CASES = ["plain", "zeros", "strided"]
NETWORK = "network"  # the case of an operation in which it is part of a training run
CATCHES = {  # detector -> bug -> the cases in which it alarms
    "difference": {"matmul/transposed_factor": CASES, "relu/closed_mask": ["zeros"]},
    "layout_probe": {"relu/writes_into_cotangent": ["strided"], "matmul/transposed_factor": CASES},
    "loss_curve": {"matmul/transposed_factor": [NETWORK]},
    "reads_source": {"relu/closed_mask": CASES},
}
AWAKE = {bug: [*CASES, NETWORK] for bug in LABELS} | {
    "relu/closed_mask": ["zeros"],
    "relu/writes_into_cotangent": ["plain", "strided"],
}


def results() -> Results:
    """Six bugs, five healthy specimens, a sick one, five detectors, three or four cases, three seeds."""
    rows = []
    for detector, specimen, case, seed in product(
        DETECTORS, [*LABELS, *HEALTHY], [*CASES, NETWORK], range(3)
    ):
        needs, claims, forwards, backwards, seconds = DETECTORS[detector]
        row = _row(detector, specimen, case, seed, claims)
        if case == NETWORK and row["kind"] == "loop":
            continue
        row["view"] = "training" if row["kind"] == "loop" or case == NETWORK else "operation"
        if needs[0] not in (row["view"], "source"):
            row["outcome"] = "not_applicable"
        else:
            row |= _verdict(row)
            row |= {
                "forwards": forwards,
                "backwards": backwards,
                "seconds": round(seconds * (1 + 0.1 * _number(row["key"])), 6),
            }
        rows.append(row)
    return _results(rows, LABELS, HEALTHY, DETECTORS)


def large(bugs: int = 120, healthy: int = 60, detectors: int = 40, seeds: int = 3) -> Results:
    """The size of a full run; who catches what is decided by a hash."""
    families = sorted({family for family, _, _ in LABELS.values()})
    labels = {
        f"operation_{n // 4}/some_wrong_thing_{n}": (
            families[n % len(families)],
            ["value", "side_effect", "trajectory"][n % 3],
            f"the term number {n} is missing from the gradient of the second input",
        )
        for n in range(bugs)
    }
    well = {f"operation_{n}/operation_{n}": "correct" for n in range(healthy)}
    spent = {
        f"detector_number_{n}": (["operation"], ["value"], n, n // 2, 1e-4 * 1.25**n)
        for n in range(detectors)
    }
    cases = [*CASES, "one_row", "transposed", "large_offset"]
    rows = []
    for detector, specimen, case, seed in product(spent, [*labels, *well], cases, range(seeds)):
        row = _row(detector, specimen, case, seed, ["value"], labels, well, set(cases))
        skill = _number(detector) * 0.8 if specimen in labels else 0.02
        alarm = _number(f"{detector} {specimen} {case}") < skill
        row |= {
            "outcome": "alarm" if alarm else "clear",
            "score": _number(row["key"]),
            "because": f"<Ju, g> = {_number(row['key']):.9g}, <u, J'g> = 0.730915284, tolerance 1e-6",
            "forwards": spent[detector][2],
            "backwards": spent[detector][3],
            "seconds": spent[detector][4],
        }
        rows.append(row)
    return _results(rows, labels, well, spent, cases)


def trials(*rows: dict) -> pd.DataFrame:
    """A frame of single trials for a statistic known by hand: only what differs is given."""
    made = []
    for n, given in enumerate(rows):
        row = dict.fromkeys(COLUMNS, "") | {
            **{"key": str(n), "detector": "d", "specimen": "s/bug", "case": "plain", "seed": 0},
            **{"kind": "operation", "view": "operation", "twin": "broken", "family": "wrong-math"},
            **{"channel": "value", "awake": True, "loud": False, "claimed": True},
            **{"outcome": "clear", "score": 0.0, "seconds": 1.0, "forwards": 1, "backwards": 1},
        }
        made.append(row | given)
    return pd.DataFrame(made, columns=list(COLUMNS))


def _row(detector, specimen, case, seed, claims, labels=LABELS, healthy=HEALTHY, awake=None):
    family, channel, _ = labels.get(specimen, ("", "", ""))
    file = specimen.partition("/")[0]
    seen = bool(family) and case in (awake or AWAKE[specimen])
    return {
        "key": hashlib.sha256(f"{detector} {specimen} {case} {seed}".encode()).hexdigest(),
        "detector": detector,
        "specimen": specimen,
        "base": f"{file}/{file}",
        "file": file,
        "group": "controls" if file == "hard_tanh" else "operations",
        "kind": "loop" if file == "accumulate" else "operation",
        "view": "operation",
        "twin": "broken" if family else healthy[specimen],
        "family": family,
        "channel": channel,
        "operator": "",
        "case": case,
        "seed": seed,
        "awake": seen,
        "awake_in": channel if seen else "",
        "loud": seen and channel == "contract",
        "claimed": seen and channel in claims,
        "outcome": "",
        "score": float("nan"),
        "because": "",
        "where": "",
        "seconds": 0.0,
        "forwards": 0,
        "backwards": 0,
    }


def _verdict(row: dict) -> dict:
    """What the detectors of `results` say: rules by name, so that a reader can foresee the tables."""
    detector, specimen, case, seed = (row[k] for k in ("detector", "specimen", "case", "seed"))
    if row["loud"]:
        return {"outcome": "raised", "because": "RuntimeError: expected 2 gradients, got 1"}
    if detector == "always_alarms":
        return {"outcome": "alarm", "score": 1.0, "because": "it is always wrong </script><b>&amp;"}
    if detector == "layout_probe" and specimen == "softmax/keeps_graph":
        failure = ["error", "timeout", "crash"][seed]
        return {"outcome": failure, "because": f"the cell ended with: {failure} | <exit 1>"}
    if detector == "loss_curve" and row["kind"] == "loop":
        return {"outcome": "abstain", "because": "the loss fell, 2.31 to 0.42: no opinion"}
    if specimen == "hard_tanh/kink_at_one" and detector == "difference" and case == "zeros":
        return {"outcome": "alarm", "score": 0.5, "because": "dx[0] = 0, differences say 0.5"}
    caught = case in CATCHES.get(detector, {}).get(specimen, [])
    if caught and not (detector == "difference" and seed == 2):  # two seeds of three: still caught
        return {"outcome": "alarm", "score": 0.25, "because": "dx = 1.5, not 2", "where": "input 0"}
    if detector == "reads_source" and specimen == "relu/relu" and seed == 0:  # one of three: not
        return {"outcome": "alarm", "score": 0.1, "because": "line 7: '>' beside a saved tensor"}
    return {"outcome": "clear", "score": 1e-10 * (1 + seed), "because": "1.3e-10 is below 1e-6"}


def _results(rows, labels, healthy, detectors, cases=CASES) -> Results:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    order = ["detector", "specimen", "case", "seed"]
    ids = [*labels, *healthy]
    awake = frame.drop_duplicates(["specimen", "case"]).set_index(["specimen", "case"])
    truth = [
        {
            "specimen": i,
            "case": case,
            "channel": channel,
            "awake": bool(awake.awake[i, case]) and channel == labels[i][1],
            "loud": bool(awake.loud[i, case]) and channel == labels[i][1],
            "probe": "random cotangent",
            "words": "dx0[1, 2] is 1.5 where 2 is right"
            if awake.awake[i, case]
            else "equal in all 20",
            "error": 0.25 if awake.awake[i, case] and channel == labels[i][1] else 0.0,
            "reference": "autograd of the reference",
            "probes": 3,
        }
        for i in ids
        for case in [*cases, NETWORK]
        if (i, case) in awake.index
        for channel in ("value", "side_effect", "memory", "contract", "trajectory")
    ]
    return Results(
        trials=frame.sort_values(order, ignore_index=True),
        truth=pd.DataFrame(truth),
        specimens={i: _specimen(i, labels, healthy, cases) for i in ids},
        detectors={
            name: {
                "needs": needs,
                "claims": claims,
                "cost": f"{forwards} forwards, {backwards} backwards",
                "blind_to": "kinks & errors < 1e-6",
                "thresholds": {"TOLERANCE = 1e-6": "the default of the tool"},
                "doc": f"The strategy called {name}.\n\n    <J u, g>  ==  <u, J' g>\n\nIn words.",
            }
            for name, (needs, claims, forwards, backwards, _) in detectors.items()
        },
        meta={
            "versions": {"bugzoo": "0.1.0", "torch": "2.13.0", "python": "3.12.3"},
            "seeds": [0, 1, 2],
            "jobs": 2,
            "timeout": 20.0,
            "selection": {"specimen": ["relu", "m*"]},
            "started": "2026-01-02T03:04:05+00:00",
            "wall_seconds": 83.4,
            "cells": len(frame),
            "oracle_seconds": 12.1,
        },
    )


def _specimen(name, labels, healthy, cases) -> dict:
    family, channel, wrong = labels.get(name, ("", "", ""))
    file = name.partition("/")[0]
    head = "import torch\nfrom torch.autograd import Function\n\n\nclass Subject(Function):\n"
    body = "    @staticmethod\n    def backward(ctx, g):\n        (x,) = ctx.saved_tensors\n"
    right, bad = "        return g * (x > 0)\n", "        return g * (x >= 0)  # </script>\n"
    shared = [f" {line}" for line in (head + body).splitlines()]
    diff = [
        "--- correct",
        "+++ broken",
        "@@ -1,9 +1,9 @@",
        *shared,
        "-" + right[:-1],
        "+" + bad[:-1],
    ]
    control = healthy.get(name) == "control"
    return {
        "kind": "loop" if file == "accumulate" else "operation",
        "twin": "broken" if family else healthy[name],
        "group": "controls" if control else "operations",
        "file": file,
        "base": f"{file}/{file}",
        "family": family,
        "channel": channel,
        "wrong": wrong,
        "story": "Found in a `<residual>` block.\n\nIt cost a week." if family else "",
        "shown_by": cases[:1] if family else [],
        "hidden_by": cases[1:2] if family else [],
        "seen": ["https://example.org/issues/1?a=1&b=2", "javascript:alert(1)"] if family else [],
        "looks": "the slope at 1 is 0" if control else "",
        "right": "any value between 0 and 1 is a subgradient" if control else "",
        "cases": [{"name": c, "about": f"inputs of the kind {c}"} for c in cases],
        "diff": "\n".join(diff) if family else "",
        "text": head + body + (bad if family else right),
        "wrong_lines": [9] if family else [],
    }


def _number(words: str) -> float:
    """A number in [0, 1) that only depends on `words`."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:6], "big") / 2**48
