"""Progress: an append-only log, folded; what is damaged is left out and said."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from bugzoo.errors import UserError
from bugzoo.learn import log as logs
from bugzoo.learn import path as paths
from bugzoo.learn.exercise import parse
from bugzoo.learn.log import COLUMNS, Log, Progress, fold, frame, rows
from bugzoo.learn.session import Session


def event(kind, day="2026-01-01", **facts):
    """An event at noon of a day."""
    return {
        "time": f"{day}T12:00:00.000Z",
        "event": kind,
        "mode": "find",
        "code": "LN-d1e387",
        **facts,
    }


def folded(*events):
    state = Progress()
    for e in events:
        fold(state, e)
    return state


def test_events_are_appended_and_folded(tmp_path):
    """Start, look, wrong answer, hint, solve: the record tells all of it."""
    log = Log(tmp_path)
    for kind, facts in [
        ("start", {"op": "layer_norm", "seed": 3, "step": 1}),
        ("look", {"instrument": "sums"}),
        ("answer", {"right": False}),
        ("hint", {"rung": 1}),
        ("answer", {"right": True}),
        ("solve", {"family": "wrong-math", "level": 5}),
    ]:
        log.add(kind, mode="find", code="LN-d1e387", **facts)
    state = log.progress()
    record = state.records["find:LN-d1e387"]

    assert (record.state, record.tries, record.wrong, record.hints) == ("solved", 2, 1, 1)
    assert record.looks == ["sums"] and record.seed == 3 and record.level == 5
    assert state.done_steps == {1} and state.open_one() is None
    assert state.families["wrong-math"].box == 1


def test_a_torn_last_line_is_left_out_and_the_next_event_is_whole(tmp_path):
    """A crash in the middle of a line costs that line alone."""
    log = Log(tmp_path)
    log.add("start", mode="find", code="LN-d1e387")
    with open(log.path, "ab") as file:
        file.write(b'{"time": "2026-01-01T12:00:00.0')
    warned = log.progress().warnings
    log.add("skip", mode="find", code="LN-d1e387")

    assert len(warned) == 1 and "torn" in warned[0] and "nothing to do" in warned[0]
    assert [e["event"] for e in log.events()] == ["start", "skip"]


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"[]", b'{"event": "start"}', b'{"time": 3, "event": "start"}']
)
def test_a_damaged_line_costs_itself_alone(tmp_path, line):
    """Whatever stands in a line, the others count, and the damage is said."""
    log = Log(tmp_path)
    log.add("start", mode="find", code="LN-d1e387")
    log.path.write_bytes(line + b"\n" + log.path.read_bytes())
    state = log.progress()

    assert "find:LN-d1e387" in state.records
    assert "line 1 is no event" in state.warnings[0]


@pytest.mark.parametrize(
    "facts",
    [
        {"mode": "trace"}, {"code": "../../etc"}, {"seed": "x"}, {"step": 31}, {"steps": [[1]]}, 
        {"level": True},
        {"time": "9999-12-31T00:00:00Z"}, {"family": 3}, {"event": "boast"},
    ],
)  # fmt: skip
def test_a_line_with_a_field_of_another_kind_is_no_event(tmp_path, facts):
    """What a later version, an editor or a stranger wrote is left out, and every command still works."""
    made = {
        "time": "2026-01-01T00:00:00Z",
        "event": "start",
        "mode": "fix",
        "code": "LN-d1e387",
    } | facts
    (tmp_path / logs.NAME).write_text(json.dumps(made) + "\n")

    assert not Log(tmp_path).progress().records
    assert "no event that this version knows" in Log(tmp_path).progress().warnings[0]
    assert command("list", "--dir", str(tmp_path)).returncode == 0


def test_a_time_without_a_zone_is_utc_and_zones_are_put_in_order(tmp_path):
    """Another program's times are read as moments; the export holds them too."""
    lines = [
        event("start", time="2026-01-01T12:00:00+02:00"), event("look", time="2026-01-01T11:00:00"),
        event("skip", time="2026-01-01T11:30:00Z"),
    ]  # fmt: skip
    (tmp_path / logs.NAME).write_text("".join(json.dumps(e) + "\n" for e in reversed(lines)))
    listed = Log(tmp_path).events()

    assert [e["event"] for e in listed] == ["start", "look", "skip"]
    assert [r["seconds_since_start"] for r in rows(listed)] == [0.0, 3600.0, 5400.0]


def test_damage_is_told_once(tmp_path):
    """All damaged lines in one message, at one command; a torn line that was told stays told."""
    log = Log(tmp_path)
    log.add("start", mode="find", code="LN-d1e387")
    log.path.write_bytes(b"one\ntwo\n" + log.path.read_bytes() + b'{"time": "2026')
    first, second = (command("status", "--dir", str(tmp_path)) for _ in range(2))

    assert "3 lines (1, 2, 4) are no event" in " ".join(first.stderr.split())
    assert "sort -u" in first.stderr and first.stderr.count("left out") == 1
    assert not second.stderr and "LN-d1e387" in second.stdout
    log.path.write_bytes(log.path.read_bytes() + b"three\n")
    assert "line 6 is no event" in " ".join(command("list", "--dir", str(tmp_path)).stderr.split())


def test_a_slow_clock_does_not_open_what_is_solved(tmp_path):
    """The end of an exercise may stand before its beginning where two machines' logs are merged."""
    state = folded(event("solve", family="scaling", step=3), event("start", step=3))

    assert state.records["find:LN-d1e387"].state == "solved" and state.done_steps == {3}
    assert folded(event("giveup"), event("start")).records["find:LN-d1e387"].state == "given up"
    taken_up = folded(event("start"), event("giveup"), event("start"))
    assert taken_up.records["find:LN-d1e387"].state == "open"


def test_an_attempt_that_is_in_both_logs_counts_once(tmp_path):
    """The same file merged twice says nothing new; another try on another machine is another try."""
    log = Log(tmp_path / "a")
    log.add("start", mode="find", code="LN-d1e387")
    log.add("answer", mode="find", code="LN-d1e387", right=False)
    mine = log.path.read_bytes()
    log.path.write_bytes(mine + mine)
    assert log.progress().records["find:LN-d1e387"].tries == 1
    log.add("answer", mode="find", code="LN-d1e387", right=False)
    assert log.progress().records["find:LN-d1e387"].tries == 2


def test_what_cannot_be_stored_counts_as_long_as_the_process_lives(tmp_path, monkeypatch):
    """`keep` holds the event and says once why it was not stored; `add` refuses."""
    log = Log(tmp_path)
    log.add("start", mode="find", code="LN-d1e387")

    def full(path, line):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logs, "_append", full)
    log.keep("look", mode="find", code="LN-d1e387", instrument="sums")

    assert log.progress().records["find:LN-d1e387"].looks == ["sums"]
    assert "No space left" in log.excuse and "--dir" in log.excuse
    with pytest.raises(UserError, match="No space left"):
        log.add("skip", mode="find", code="LN-d1e387")


def test_two_machines_merge_by_sort(tmp_path):
    """`sort -u a b` holds every event of both, once, in the order of time."""
    one, two = Log(tmp_path / "a"), Log(tmp_path / "b")
    one.add("start", mode="find", code="LN-d1e387")
    two.path.parent.mkdir()
    two.path.write_bytes(one.path.read_bytes())
    one.add("look", mode="find", code="LN-d1e387", instrument="sums")
    two.add("skip", mode="find", code="LN-d1e387")
    merged = subprocess.run(
        ["sort", "-u", one.path, two.path], capture_output=True, check=True
    ).stdout
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / logs.NAME).write_bytes(merged)

    assert [e["event"] for e in Log(tmp_path / "c").events()] == ["start", "look", "skip"]


def test_families_come_again_later_each_time():
    """Solved without help: 1, 3, 8 days. With two hints no further. Given up: back to the first."""
    solve = {"family": "scaling"}
    once = folded(event("start"), event("solve", **solve))
    later = [event(k, "2026-01-02", code="B-1", **solve) for k in ("start", "solve")]
    twice = folded(event("start"), event("solve", **solve), *later)
    sitting = folded(
        event("start"), event("solve", **solve), *[e | {"time": event("x")["time"]} for e in later]
    )
    helped = folded(event("start"), event("hint", rung=2), event("solve", **solve))
    gave = folded(event("start"), event("solve", **solve), event("start", code="B-1"),
                  event("giveup", code="B-1", **solve))  # fmt: skip

    assert once.families["scaling"].due == "2026-01-02"
    assert twice.families["scaling"].due == "2026-01-05"
    assert sitting.families["scaling"].due == "2026-01-02"  # two in one sitting are one lesson
    assert (helped.families["scaling"].box, gave.families["scaling"].box) == (1, 1)
    assert once.due("2026-01-01") == [] and once.due("2026-01-02") == ["scaling"]


def test_the_answer_is_blank_while_an_exercise_is_open(tmp_path):
    """An export of an open exercise does not give it away."""
    facts = {"line_true": 15, "kind_true": "scaling", "line_answered": 3}
    open_ = rows([event("start"), event("answer", right=False, **facts)])
    closed = rows([event("start"), event("answer", right=True, **facts), event("solve", **facts)])

    assert open_[1]["line_true"] is None and open_[1]["line_answered"] == 3
    assert closed[1]["line_true"] == 15 and closed[1]["attempt"] == 1


def test_the_log_is_a_frame_and_a_csv(tmp_path):
    """The same columns in pandas and in CSV."""
    Log(tmp_path).add("start", mode="find", code="LN-d1e387", op="layer_norm")
    table = frame(tmp_path)
    run = command("export", "--dir", str(tmp_path))

    assert tuple(table.columns) == COLUMNS and table["op"].tolist() == ["layer_norm"]
    (row,) = csv.DictReader(io.StringIO(run.stdout))
    assert tuple(row) == COLUMNS and row["code"] == "LN-d1e387"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """The answer is not recorded, and another folder is named as the way out."""
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="--dir"):
        Log(tmp_path / "x").add("start", mode="find", code="LN-d1e387")


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    """A workspace must be a folder; a log in a place that is none gets a sentence."""
    (tmp_path / "f").write_text("")

    with pytest.raises(UserError, match="is a file: name a folder"):
        Session(tmp_path / "f")
    with pytest.raises(UserError, match="cannot be written"):
        Log(tmp_path / "f").add("start", mode="find", code="LN-d1e387")


def test_the_path_has_thirty_steps_of_which_each_says_what_it_taught():
    """Six parts of five, eight hours, every mode, loops and operations."""
    minutes = sum(s.minutes for s in paths.STEPS)

    assert [s.number for s in paths.STEPS] == list(range(1, 31))
    assert 7 * 60 <= minutes <= 9 * 60
    assert {s.mode for s in paths.STEPS} == {"find", "fix", "detect", "plant"}
    assert all(s.taught.endswith((".", "!")) for s in paths.STEPS)


def test_codes_are_read_in_any_case():
    """ln-D1E387 is LN-d1e387; -all- and -own- name their mode."""
    assert parse("ln-D1E387").code == "LN-d1e387"
    assert parse("LN-all-41") == parse("LN-all-41", "detect")
    assert parse("SO-own-3").mode == "plant" and parse("SO-own-3").seed == 3
    with pytest.raises(UserError, match="is an exercise of 'detect'"):
        parse("LN-all-41", "fix")


def command(*words, **more):
    """`bugzoo learn ...` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "bugzoo.cli", "learn", *words],
        capture_output=True,
        text=True,
        **more,
    )


@pytest.mark.parametrize(
    "words", [["--dir", "none"], ["status", "--dir", "none"], ["list", "--dir", "none"]]
)
def test_the_first_screen_needs_no_torch(words, tmp_path):
    """What is shown at once must be there at once: torch takes a second to import."""
    code = (
        f"import sys; sys.argv = ['bugzoo', 'learn', *{words!r}]; from bugzoo.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nsys.exit('torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, input="q\n", capture_output=True, text=True
    )

    assert run.returncode == 0 and run.stdout


def test_status_for_a_prompt(tmp_path):
    """One JSON object, stable keys."""
    Log(tmp_path).add("start", mode="find", code="LN-d1e387")
    data = json.loads(command("status", "--json", "--dir", str(tmp_path)).stdout)

    assert data["open"] == {"mode": "find", "code": "LN-d1e387"}
    assert set(data) == {"open", "solved", "path", "due", "families"}
