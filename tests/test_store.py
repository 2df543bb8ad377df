"""The results file: what is in it, and every way in which it can be unusable."""

import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bugzoo.errors import UserError
from bugzoo.trials import frame
from bugzoo.trials.store import NAME, Store

KINDS = {"kind": "operation", "group": "operations", "file": "relu", "base": "relu/relu"}
SPECIMENS = {
    "relu/relu": {**KINDS, "twin": "correct", "family": "", "channel": ""},
    "relu/bad": {**KINDS, "twin": "broken", "family": "scaling", "channel": "value"},
}
DETECTORS = {"a": {"claims": ["value"]}, "b": {"claims": ["memory"]}}


def trial(detector="a", specimen="relu/bad", case="plain", **changes):
    """A row as the runner makes it; its key tells what it is about."""
    row = {"detector": detector, "specimen": specimen, "view": "operation", "case": case, "seed": 0}
    row |= {"outcome": "clear", "score": 0.5, "because": "", "where": "", "seconds": 0.1}
    row |= {"forwards": 1, "backwards": 1}
    return row | {"key": f"{detector} {specimen} {case}"} | changes


def truth(specimen="relu/bad", case="plain", **changes):
    """A row of the oracle that sees a wrong value."""
    row = {"specimen": specimen, "case": case, "channel": "value", "awake": True, "loud": False}
    row |= {"probe": "", "words": "", "error": 0.1, "reference": "", "probes": 3}
    return row | {"key": f"{specimen} {case}"} | changes


def write(folder, trials=(), truths=(), *, resume=False):
    """A run of these rows; the keys of both are the current ones."""
    with Store(folder, resume=resume) as store:
        store.begin([row["key"] for row in (*trials, *truths)], SPECIMENS, DETECTORS)
        for row in truths:
            store.add_truth([row])
        store.add_trials(trials)
        store.note(jobs=2)
    return folder / NAME


def message(path):
    """What reading it says; at most three lines."""
    with pytest.raises(UserError) as caught:
        frame.load(path)
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_what_is_written_is_read(tmp_path):
    """Every column, completed by what is known of specimen, case and detector."""
    write(tmp_path, [trial("b"), trial("a"), trial("a", "relu/relu")], [truth()])

    found = frame.load(tmp_path)

    assert list(frame.COLUMNS) == list(found.trials.columns)
    assert list(found.trials["specimen"]) == ["relu/bad", "relu/relu", "relu/bad"]
    assert list(found.trials["detector"]) == ["a", "a", "b"]
    assert list(found.trials["awake"]) == [True, False, True]
    assert list(found.trials["awake_in"]) == ["value", "", "value"]
    assert list(found.trials["claimed"]) == [True, False, False]
    assert list(found.trials["twin"]) == ["broken", "correct", "broken"]
    assert found.meta == {"jobs": 2}
    assert tuple(str(found.trials[c].dtype) for c in ("awake", "seed", "score")) == (
        "bool",
        "int64",
        "float64",
    )


def test_a_nan_stays_a_nan_and_an_infinity_an_infinity(tmp_path):
    """No verdict has no score; an infinite one is allowed."""
    write(tmp_path, [trial(score=math.nan), trial("b", score=math.inf)], [truth(error=math.inf)])

    found = frame.load(tmp_path)

    assert list(found.trials["score"].isna()) == [True, False]
    assert math.inf == found.trials["score"][1] == found.truth["error"][0]


def test_an_error_in_a_loud_case_is_the_subjects(tmp_path):
    """The engine raises for it, outside its own lines; in a silent case it is the detector's."""
    rows = [trial(outcome="error"), trial("a", "relu/relu", outcome="error")]
    write(tmp_path, rows, [truth(channel="contract", loud=True)])

    assert list(frame.results(tmp_path)["outcome"]) == ["raised", "error"]


def test_an_empty_run_has_all_columns(tmp_path):
    """A run that was stopped at once."""
    write(tmp_path)

    assert list(frame.COLUMNS) == list(frame.results(tmp_path).columns)


def test_only_the_last_run_is_read_and_nothing_is_lost(tmp_path):
    """A resumed run about less: the rest is not shown, and is there when it is asked for again."""
    write(tmp_path, [trial("a"), trial("b")], [truth()])
    write(tmp_path, [trial("a")], [truth()], resume=True)

    assert list(frame.results(tmp_path)["detector"]) == ["a"]

    with Store(tmp_path, resume=True) as store:
        assert {"a relu/bad plain", "b relu/bad plain", "relu/bad plain"} == store.finished()


def test_failures_of_the_machinery_are_tried_again(tmp_path):
    """A time-out or a crash is an outcome of this run, but never a finished one."""
    rows = [trial(d, outcome=d) for d in ("crash", "timeout", "error", "raised")]
    with Store(tmp_path, resume=False) as store:
        store.add_trials(rows)
        store.add_truth([truth(probes=0)])

        assert {f"{d} relu/bad plain" for d in ("error", "raised")} == store.finished()


def test_without_resume_the_old_file_is_kept(tmp_path):
    """As trials-1, then trials-2; each is a whole results file."""
    for detector in ("a", "b", "a"):
        write(tmp_path, [trial(detector)], [truth()])

    assert list(frame.results(tmp_path)["detector"]) == ["a"]
    assert list(frame.results(tmp_path / "trials-1.sqlite")["detector"]) == ["a"]
    assert list(frame.results(tmp_path / "trials-2.sqlite")["detector"]) == ["b"]


def test_two_runs_never_write_into_one_folder(tmp_path):
    """The second is told, and the first goes on."""
    with Store(tmp_path, resume=False) as store:
        with pytest.raises(UserError, match="another bugzoo run is writing there"):
            Store(tmp_path, resume=True)
        store.add_trials([trial()])


def test_it_can_be_read_while_a_run_writes(tmp_path):
    """The rows that are committed, by then."""
    with Store(tmp_path, resume=False) as store:
        store.begin(["a relu/bad plain", "b relu/bad plain"], SPECIMENS, DETECTORS)
        store.add_trials([trial("a")])

        assert len(frame.results(tmp_path)) == 1


def test_a_finished_file_is_one_file(tmp_path):
    """Nothing beside it, so it can be copied, and read where nothing can be written."""
    write(tmp_path, [trial()], [truth()])

    assert os.listdir(tmp_path) == [NAME]


def test_reading_needs_no_torch(tmp_path):
    """Reports are made where only pandas is."""
    write(tmp_path, [trial()], [truth()])
    code = (
        "import sys; from bugzoo.trials import frame; print(len(frame.results(sys.argv[1])));"
        "sys.exit('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (0, b"1\n")


def test_a_path_without_results_is_one_message(tmp_path):
    """A folder, a file, with what makes some."""
    assert "no results there. 'bugzoo run --out DIR' makes some." in message(tmp_path)
    assert "no results there" in message(tmp_path / "nowhere" / "x.sqlite")


@pytest.mark.parametrize("content", [b"key,detector\n1,2\n", b"SQLite format 3\0" + b"junk" * 500])
def test_a_file_of_something_else_is_told(tmp_path, content):
    """Whatever its name is; and it is not touched."""
    (tmp_path / NAME).write_bytes(content)

    assert "not a bugzoo results file" in message(tmp_path)
    with pytest.raises(UserError, match="not a bugzoo results file"):
        Store(tmp_path, resume=False)
    assert content == (tmp_path / NAME).read_bytes()


def test_a_database_of_somebody_else_is_told(tmp_path):
    """It is SQLite, but not ours."""
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("create table trials (x)")
    db.close()

    assert "not a bugzoo results file" in message(tmp_path)
    with pytest.raises(UserError, match="not a bugzoo results file"):
        Store(tmp_path, resume=True)


def test_a_file_of_another_version_is_told(tmp_path):
    """With both numbers."""
    with sqlite3.connect(write(tmp_path)) as db:
        db.execute("pragma user_version = 99")
    db.close()

    assert "another version of bugzoo (format 99, expected 1)" in message(tmp_path)


def test_a_truncated_file_is_told(tmp_path):
    """Not taken for an empty run, and not written into."""
    path = write(tmp_path, [trial(f"d{n}", because="x" * 500) for n in range(200)], [truth()])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert "truncated or damaged" in message(tmp_path)
    with pytest.raises(UserError, match="truncated or damaged"):
        Store(tmp_path, resume=True)


def test_an_empty_file_is_told_and_may_be_begun(tmp_path):
    """What a run leaves that is killed at once."""
    (tmp_path / NAME).touch()

    assert "ended before its first result" in message(tmp_path)
    assert len(frame.results(write(tmp_path, [trial()], [truth()], resume=True))) == 1


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path):
    """One message that says so; the file reads, and the run goes on once there is room."""
    with Store(tmp_path, resume=False) as store:
        store.begin([f"d{n} relu/bad plain" for n in range(500)], SPECIMENS, {})
        pages = store._db.execute("pragma page_count").fetchone()[0]
        store._db.execute(f"pragma max_page_count = {pages + 5}")
        with pytest.raises(UserError, match=r"(?s)disk is full.*is kept: make room.*--resume"):
            for n in range(500):
                store.add_trials([trial(f"d{n}", because="x" * 500)])
                stored = n + 1

    with sqlite3.connect(tmp_path / NAME) as db:
        assert stored == db.execute("select count(*) from trials").fetchone()[0] > 0
    db.close()
    with Store(tmp_path, resume=True) as store:
        store.add_trials([trial("more")])
        assert stored + 1 == len(store.finished())


@pytest.mark.parametrize("out", ["/proc/results", f"{__file__}/results", "/dev/null"])
def test_a_folder_that_cannot_be_written_is_told(out):
    """A read-only place, a file in the way."""
    with pytest.raises(UserError, match="cannot be opened or written"):
        Store(Path(out), resume=False)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_name_that_is_no_text_works(tmp_path):
    """A folder whose bytes are not UTF-8; where it is named in a message, it can be printed."""
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xff?#%41")
    write(folder, [trial()], [truth()])

    assert len(frame.results(folder)) == 1
    assert message(folder / "none").encode()
