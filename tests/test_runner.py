"""A whole run: the same answers for any number of workers, cut off and gone on with, told honestly."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import pytest
from test_pool import marked

from bugzoo import catalog
from bugzoo.errors import UserError
from bugzoo.trials import frame, plan, runner
from bugzoo.trials.cell import Cell

HOSTILE = Path(__file__).parent / "hostile"
FILES = {"specimens": [HOSTILE / "square.py"], "detectors": [HOSTILE / "good.py"]}
ASKED = {
    "specimen": ["square/lost_factor", "square/loud", "square/too_many", "square/innocent"],
    "detector": ["surveyor", "one_direction", "dawdles"],
    "seed": ["0", "1", "2", "3"],
}
PARENT = """
import json, sys
from pathlib import Path
from bugzoo import catalog
from bugzoo.trials import plan, runner
files, asked, out = json.loads(sys.argv[1])
found = catalog.load(**files)
runner.run(found, plan.select(found, **asked), out=out, jobs=2)
"""


@pytest.fixture(scope="module")
def squares():
    return catalog.load(**FILES)


@pytest.fixture(scope="module")
def quiet(squares, tmp_path_factory):
    """An undisturbed run by one worker, and what its progress said."""
    out, said = tmp_path_factory.mktemp("quiet"), []
    selection = plan.select(squares, **ASKED)
    path = runner.run(squares, selection, out=out, jobs=1, progress=lambda *now: said.append(now))

    assert out / "trials.sqlite" == path
    return {"out": out, "results": frame.load(out), "said": said}


def same(one, other):
    """The two frames are equal but for the times."""
    pd.testing.assert_frame_equal(one.trials.drop(columns="seconds"), other.drop(columns="seconds"))


def test_two_workers_say_what_one_says(squares, quiet, tmp_path):
    """Neither their number nor the order of the cells changes an answer or a key."""
    runner.run(squares, plan.select(squares, **ASKED), out=tmp_path, jobs=2)

    found = frame.load(tmp_path)
    same(quiet["results"], found.trials)
    pd.testing.assert_frame_equal(quiet["results"].truth, found.truth)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_cut_off_goes_on(squares, quiet, tmp_path, number, monkeypatch):
    """Killed or interrupted in the middle: nothing keeps running, nothing finished is lost."""
    mark = uuid.uuid4().hex
    said = json.dumps([{k: [str(f) for f in v] for k, v in FILES.items()}, ASKED, str(tmp_path)])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, said],
        env={**os.environ, "BUGZOO_TEST_MARK": mark},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while _stored(tmp_path) < 20:
        assert parent.poll() is None, parent.stderr.read().decode()
        time.sleep(0.02)
    parent.send_signal(number)
    start = time.monotonic()
    _, errors = parent.communicate(timeout=30)
    while marked(mark) and time.monotonic() - start < 5:
        time.sleep(0.02)

    assert marked(mark) == []
    assert (b"KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    kept = frame.results(tmp_path)
    assert 20 <= len(kept) < len(quiet["results"].trials)

    asked_again = []
    original = runner.Pool.run
    monkeypatch.setattr(
        runner.Pool,
        "run",
        lambda self, cells, timeout: _noting(original, self, cells, timeout, asked_again),
    )
    runner.run(squares, plan.select(squares, **ASKED), out=tmp_path, jobs=2, resume=True)

    same(quiet["results"], frame.results(tmp_path))
    key = plan.Keys(squares)
    assert not set(kept["key"]) & {key(cell, 30.0) for cell in asked_again}


def _stored(folder):
    try:
        with sqlite3.connect(f"file:{folder}/trials.sqlite?mode=ro", uri=True) as db:
            return db.execute("select count(*) from trials").fetchone()[0]
    except sqlite3.Error:
        return 0


def _noting(run, pool, cells, timeout, asked):
    asked += cells
    return run(pool, cells, timeout)


def test_nothing_is_run_again_when_all_is_there(squares, quiet):
    """Resuming a finished run starts no cell."""
    said = []
    runner.run(
        squares, plan.select(squares, **ASKED), out=quiet["out"], resume=True,
        progress=lambda *now: said.append(now),
    )  # fmt: skip

    assert said == [(10, 10, "ground truth"), (120, 120, "trials")]
    same(quiet["results"], frame.results(quiet["out"]))


def test_progress_counts_every_cell(quiet):
    """From nothing to all, in two phases."""
    truth = [now for now in quiet["said"] if now[2] == "ground truth"]
    trials = [now for now in quiet["said"] if now[2] == "trials"]

    assert [(10, n, "ground truth") for n in range(11)] == truth
    assert [(120, n, "trials") for n in range(121)] == trials
    assert quiet["said"] == truth + trials


def test_the_truth_stands_beside_every_trial(quiet):
    """Awake where the oracle sees it, claimed where a detector says it can."""
    trials = quiet["results"].trials
    bug = trials[trials["specimen"].eq("square/lost_factor") & trials["detector"].eq("surveyor")]

    assert {("plain", True, "value"), ("zeros", False, "")} == set(
        bug[["case", "awake", "awake_in"]].itertuples(index=False, name=None)
    )
    assert bug["claimed"].equals(bug["awake"])


def test_the_wrong_one_is_caught_and_the_right_one_passes(quiet):
    """Through the pool and the store as it would be by hand."""
    trials = quiet["results"].trials
    mine = trials[trials["detector"].eq("one_direction") & trials["case"].eq("plain")]
    outcomes = mine.groupby("specimen")["outcome"].unique().map(list).to_dict()

    assert outcomes["square/lost_factor"] == ["alarm"]
    assert ["clear"] == outcomes["square/square"] == outcomes["square/innocent"]


def test_twins_and_detectors_get_the_same_inputs(quiet):
    """The first number of surveyor's reason is drawn from the global state of torch."""
    trials = quiet["results"].trials
    drawn = trials[trials["detector"].eq("surveyor") & trials["outcome"].eq("clear")]

    assert {1} == set(drawn.groupby(["case", "seed"])["because"].nunique())
    assert drawn["because"].nunique() == 8


def test_a_subject_that_raises_is_loud(quiet):
    """By its own lines or by the engine's: it is no error of the detector."""
    trials = quiet["results"].trials
    loud = trials[trials["specimen"].isin(["square/loud", "square/too_many"])]
    run = loud[loud["detector"].ne("dawdles")]

    assert {"raised"} == set(run["outcome"])
    assert loud["loud"].all()
    own = run[run["specimen"].eq("square/loud")]["because"]
    assert own.str.contains(r"ValueError: no gradient today \(subject, line \d+\)").all()


def test_labels_that_lie_are_counted(quiet):
    """The run goes on; what the oracle says is in the file."""
    lies = quiet["results"].meta["lies"]

    assert [line.partition(":")[0] for line in lies] == [
        "square/innocent in plain",
        "square/innocent in zeros",
    ]


def test_what_is_known_of_specimens_and_detectors_is_stored(quiet):
    """A report needs neither the code nor torch."""
    results = quiet["results"]
    bug = results.specimens["square/lost_factor"]

    assert set(ASKED["detector"]) == set(results.detectors)
    assert {*ASKED["specimen"], "square/square"} == set(results.specimens)
    assert bug["text"].splitlines()[bug["wrong_lines"][0] - 1].strip() == "return x * g"
    assert "-        return 2 * x * g" in bug["diff"].splitlines()
    assert [(c["name"], c["about"].startswith("cotangent: ")) for c in bug["cases"]] == [
        ("plain", True),
        ("zeros", True),
    ]
    assert {"versions", "seeds", "jobs", "timeout", "selection", "started", "wall_seconds", "cells",
            "oracle_seconds", "lies", "absent"} == set(results.meta)  # fmt: skip
    assert results.meta["cells"] == 130


def test_passes_are_counted(quiet):
    """As many as the detectors spend."""
    trials = quiet["results"].trials
    spent = trials[trials["outcome"].isin(["clear", "alarm", "abstain"])]
    passes = spent.groupby("detector")[["forwards", "backwards"]].agg(["min", "max"])

    assert list(passes.loc["surveyor"]) == [1, 1, 1, 1]
    assert list(passes.loc["one_direction"]) == [3, 3, 1, 1]
    assert list(passes.loc["dawdles"]) == [0, 0, 0, 0]


def test_a_specimen_may_kill_or_hang_the_oracle(squares, tmp_path, monkeypatch):
    """It is loud then; its trials are crashes and time-outs, and the rest is untouched."""
    monkeypatch.setattr(runner, "ORACLE_TIMEOUT", 3.0)
    selection = plan.select(
        squares, specimen=["square/deadly", "square/endless"], case=["plain"],
        detector=["one_direction", "loss_falls"],
    )  # fmt: skip
    runner.run(squares, selection, out=tmp_path, jobs=2, timeout=3)

    found = frame.load(tmp_path)
    mine = found.trials[found.trials["detector"].eq("one_direction")].set_index("specimen")
    assert dict(mine["outcome"]) == {
        "square/deadly": "crash",
        "square/endless": "timeout",
        "square/square": "clear",
    }
    assert dict(mine["loud"]) == {
        "square/deadly": True,
        "square/endless": True,
        "square/square": False,
    }
    words = found.truth[found.truth["loud"]].set_index("specimen")["words"]
    assert words["square/deadly"] == "crash: the worker died: exit code 3"
    assert words["square/endless"] == "timeout: no answer within 3 s"
    # a detector of training runs has nothing to look at
    other = found.trials[found.trials["detector"].eq("loss_falls")]
    assert {"not_applicable"} == set(other["outcome"])


def test_inputs_do_not_depend_on_twin_or_detector():
    """The generator is seeded from file, case and seed; the global states are put back."""
    import random

    import numpy as np
    import torch

    from bugzoo.trials.cell import seeded

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    drawn = []
    for where in (
        ("relu", "plain", 0),
        ("relu", "plain", 0),
        ("relu", "plain", 1),
        ("relu", "x", 0),
    ):
        with seeded(*where) as gen:
            drawn.append((torch.rand((), generator=gen).item(), np.random.rand(), random.random()))

    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"detector": ["one_directon"]},
            "unknown detector 'one_directon'. Did you mean one_direction",
        ),
        ({"detector": ["zzz"]}, "unknown detector 'zzz'. 'bugzoo list detectors' shows all."),
        ({"specimen": ["sqare"]}, "unknown specimen 'sqare'. Did you mean square"),
        ({"family": ["scalling"]}, "unknown family 'scalling'. Did you mean scaling?"),
        ({"case": ["zeroes"]}, "unknown case 'zeroes'. Did you mean zeros"),
        (
            {"specimen": ["square/loud"], "family": ["scaling"]},
            "no bug of --family 'scaling' is among",
        ),
        ({"specimen": ["square"], "case": ["rows"]}, "none of the 7 specimens chosen has a case"),
        ({"seed": ["-1"]}, "--seed -1: expected a whole number"),
    ],
)
def test_a_selection_of_nothing_is_refused(squares, asked, words):
    """One line: what, and what is near."""
    with pytest.raises(UserError) as caught:
        plan.select(squares, **asked)

    assert words in str(caught.value)


def test_no_detectors_at_all_is_told(squares):
    """A catalog without any."""
    with pytest.raises(UserError, match="no detector was found"):
        plan.select(catalog.Catalog(squares.specimens))


def test_a_bug_brings_its_correct_twin(squares):
    """False alarms are measured on it; a family brings no control unless it is named."""
    chosen = plan.select(squares, specimen=["square/lost_factor"])
    family = plan.select(squares, family=["scaling"])
    named = plan.select(squares, family=["scaling"], specimen=["*"])
    twins = {i: s.twin for i, s in squares.specimens.items()}

    assert {"square/lost_factor", "square/square"} == {i for i, _ in chosen.pairs}
    assert {"broken", "correct"} == {twins[i] for i, _ in family.pairs}
    assert {"broken", "correct", "control", "sick"} == {twins[i] for i, _ in named.pairs}
    bases = {squares.specimens[i].base for i, _ in family.pairs}
    assert bases == {i for i, _ in family.pairs if twins[i] == "correct"}


def test_a_file_name_chooses_all_of_the_file(squares):
    """And globs are repeatable."""
    chosen = plan.select(squares, specimen=["square", "relu/r*"], case=["plain", "z*"])

    assert {"square", "relu"} == {i.partition("/")[0] for i, _ in chosen.pairs}
    assert {"plain", "zeros"} == {case for _, case in chosen.pairs}


def test_every_cell_has_its_own_key(squares):
    """Detector, specimen, case, seed and time-out, all of them count."""
    key = plan.Keys(squares)
    base = Cell("surveyor", "square/square", "operation", "plain", 0)
    others = [
        base._replace(detector="one_direction"), base._replace(specimen="square/loud"),
        base._replace(case="zeros"), base._replace(seed=1), base._replace(detector=""),
    ]  # fmt: skip
    keys = [key(cell, 30.0) for cell in (base, *others)] + [key(base, 31.0)]

    assert len(keys) == len(set(keys))
    assert keys[0] == plan.Keys(squares)(base, 30.0)


def test_a_key_changes_with_the_code_it_stands_for(tmp_path, monkeypatch):
    """With the detector's file, and with what it imports of ours; not with another detector's."""
    for name in ("good.py", "bad.py"):
        (tmp_path / name).write_text((HOSTILE / name).read_text())
    found = catalog.load(detectors=[tmp_path])
    cells = [Cell(d, "relu/relu", "operation", "plain", 0) for d in ("surveyor", "hangs")]
    before = [plan.Keys(found)(cell, 30.0) for cell in cells]
    with open(tmp_path / "good.py", "a") as file:
        file.write("# changed\n")
    after = [plan.Keys(found)(cell, 30.0) for cell in cells]

    assert before[0] != after[0]
    assert before[1] == after[1]

    original = plan._bytes
    monkeypatch.setattr(
        plan, "_bytes", lambda file: original(file) + (b"# new" if file.name == "loop.py" else b"")
    )
    assert after[0] != plan.Keys(found)(cells[0], 30.0)


def test_the_files_behind_a_key_are_found():
    """What a specimen imports of ours, by whatever road."""
    found = {
        p.name
        for p in plan._imported(b"from bugzoo import Loop, correct\nimport detectors.gradcheck")
    }

    assert {"loop.py", "model.py", "gradcheck.py"} == found
    assert {"relu.py", "cases.py"} <= {
        p.name
        for p in plan._imported(
            b"from bugzoo.specimens.operations import relu\nimport bugzoo.cases"
        )
    }
