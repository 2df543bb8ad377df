"""The pool among cells that hang, crash, shout, forge answers and spoil what is shared."""

import os
import time
import uuid
from pathlib import Path

import pytest

from bugzoo import catalog
from bugzoo.errors import UserError
from bugzoo.trials.cell import Cell
from bugzoo.trials.pool import Pool, cores, jobs_from, timeout_from

HOSTILE = Path(__file__).parent / "hostile"
TIMEOUT = 3.0
FATES = {  # bad detector -> outcome, part of the reason
    "hangs": ("timeout", "no answer within 3 s"),
    "spins_deaf": ("timeout", "no answer within 3 s"),
    "forks_and_hangs": ("timeout", "no answer within 3 s"),
    "exits": ("crash", "the worker died: exit code 0"),
    "segfaults": ("crash", "the worker died: SIGSEGV"),
    "aborts": ("crash", "the worker died: SIGABRT"),
    "closes_files": ("crash", "the worker died: exit code 1"),
    "writes_everywhere": ("crash", "the worker wrote "),
    "forges": ("crash", "an answer to nothing that was asked"),
    "kills_its_parent": ("crash", "the worker died"),
    "raises": ("error", "Odd: <Odd whose text raises ValueError> (bad.py, line "),
    "raises_base": ("error", "BaseException: base"),
    "quits": ("error", "SystemExit: quitting"),
    "interrupts": ("error", "KeyboardInterrupt"),
    "recurses": ("error", "RecursionError"),
    "leaks": ("error", "out of memory, 2 GiB a cell: "),
    "leaks_torch": ("error", "out of memory"),
    "not_a_verdict": ("error", "returned float, expected a bugzoo.Verdict"),
    "odd_outcome": ("error", "the outcome 'broken', expected one of alarm, clear, abstain"),
    "nan_score": ("error", "'alarm' with a NaN score"),
    "tensor_score": ("error", "ValueError"),
    "dies_late": ("clear", ""),
    "shouts": ("clear", ""),
    "long_winded": ("clear", "?"),
    "hoards": ("clear", ""),
    "more_threads": ("clear", ""),
    "leaves_a_thread": ("clear", ""),
    "leaves_a_child": ("clear", ""),
    "opens_files": ("clear", ""),
    "moves": ("clear", ""),
    "taints": ("clear", ""),
    "patches": ("clear", ""),
    "sets_an_alarm": ("clear", ""),
    "times_its_worker": ("clear", ""),
}
SPOILING = [
    "dies_late",
    "leaks",
    "hoards",
    "more_threads",
    "leaves_a_thread",
    "leaves_a_child",
    "opens_files",
    "moves",
    "taints",
    "patches",
    "sets_an_alarm",
]


def marked(mark):
    """Processes that inherited `mark` in their environment, this one left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def cells(names, seeds=range(1)):
    return [Cell(name, "relu/relu", "operation", "plain", k) for k in seeds for name in names]


def plain(answers):
    """Answers without their times, in a form in which NaN equals NaN."""
    return {cell: str({**answer, "seconds": 0}) for cell, answer in answers.items()}


@pytest.fixture(scope="module")
def zoo_of_hostiles():
    found = catalog.load(detectors=[HOSTILE / "good.py", HOSTILE / "bad.py"])
    assert found.problems == []
    return found


@pytest.fixture(scope="module")
def runs(zoo_of_hostiles, tmp_path_factory):
    """Good cells alone, then among all the bad ones, in one pool; what was left running after it."""
    mark = os.environ["BUGZOO_TEST_MARK"] = uuid.uuid4().hex
    good = cells(["surveyor", "one_direction"], range(len(FATES) * 2))
    mixed = [
        cell for n, name in enumerate(FATES) for cell in (*good[4 * n : 4 * n + 4], *cells([name]))
    ]
    log = tmp_path_factory.mktemp("pool") / "workers.log"
    with Pool(zoo_of_hostiles, jobs=2, log=log, train=False) as pool:
        alone = dict(pool.run(good, 60.0))
        answers = list(pool.run(mixed, TIMEOUT))
        replaced = pool.replaced
        pool.jobs = 1
        doubtful = dict(pool.run(cells(["times_its_worker", "burns"]), 60.0))
    deadline = time.monotonic() + 5
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    del os.environ["BUGZOO_TEST_MARK"]
    return {
        "alone": alone, "answers": answers, "mixed": mixed, "replaced": replaced,
        "left": marked(mark), "log": log, "doubtful": doubtful,
    }  # fmt: skip


def test_all_bad_detectors_are_in_the_table(zoo_of_hostiles):
    """A bad detector that is added to the file is tested unasked, or this fails."""
    bad = {d.name for d in zoo_of_hostiles.detectors.values() if d.path.endswith("bad.py")}

    assert set(FATES) == bad


def test_every_cell_is_answered_once(runs):
    """Neither lost nor twice."""
    answered = [cell for cell, _ in runs["answers"]]

    assert sorted(runs["mixed"]) == sorted(answered)


def test_good_cells_are_answered_as_if_undisturbed(runs):
    """Verdict, numbers, random states, threads, dtype and folder are those of a quiet run."""
    among = {cell: answer for cell, answer in runs["answers"] if cell in runs["alone"]}

    assert plain(runs["alone"]) == plain(among)


@pytest.mark.parametrize("name", FATES)
def test_a_bad_cell_has_the_right_outcome(runs, name):
    """What it did is told from what others do."""
    (answer,) = [answer for cell, answer in runs["answers"] if cell.detector == name]
    outcome, words = FATES[name]

    assert (outcome, True) == (answer["outcome"], words in answer["because"]), answer
    assert len(answer["because"]) <= 1000


def test_spoiled_workers_are_replaced(runs):
    """One fresh worker for each cell that the next would have noticed, and for no other."""
    said = runs["log"].read_text(errors="replace")
    blamed = {name for name in FATES if f"a worker ends, as Cell(detector='{name}'" in said}

    assert set(SPOILING) == blamed
    assert len(SPOILING) == runs["replaced"]


def test_nothing_is_left_running(runs):
    """No worker, no nursery, no child or fork of a cell."""
    assert runs["left"] == []


def test_a_crash_is_confirmed_in_a_fresh_worker(runs):
    """A cell that dies of what its predecessor left behind is innocent."""
    outcomes = {cell.detector: answer["outcome"] for cell, answer in runs["doubtful"].items()}

    assert outcomes == {"times_its_worker": "clear", "burns": "clear"}


def test_workers_that_cannot_start_are_one_message(tmp_path):
    """A detector's file that is gone when the workers want it."""
    file = tmp_path / "mine.py"
    file.write_text((HOSTILE / "good.py").read_text())
    found = catalog.load(detectors=[file])
    file.unlink()
    with (
        pytest.raises(UserError, match=r"no worker can be started; the end of .*log says why"),
        Pool(found, jobs=1, log=tmp_path / "log", train=False) as pool,
    ):
        list(pool.run(cells(["burns"]), 60.0))

    assert "mine.py: no such file" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "nan", "1e3", 0, 100_000, "٣"])
def test_absurd_jobs_are_refused(value):
    """One line that says what is possible here."""
    with pytest.raises(UserError, match=rf"--jobs {value}: expected a whole number from 1 to "):
        jobs_from(value)


@pytest.mark.parametrize("value", [None, "", 1, "1"])
def test_jobs_may_be_left_out(value):
    """All cores that this process may use, then."""
    assert jobs_from(value) == (1 if value in (1, "1") else cores())


@pytest.mark.parametrize("value", ["0", "-3", "soon", "nan", "inf", "1e9", None, ""])
def test_absurd_timeouts_are_refused(value):
    """One line that says what is expected."""
    with pytest.raises(UserError, match=rf"--timeout {value}: expected seconds"):
        timeout_from(value)


def test_a_timeout_is_a_number_of_seconds():
    """Fractions too."""
    assert (timeout_from("0.5"), timeout_from(30)) == (0.5, 30.0)
