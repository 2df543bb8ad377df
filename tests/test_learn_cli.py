"""The school at the command line: screens, exit codes, and every bad input in a sentence."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from bugzoo.cli import cli
from bugzoo.errors import UserError
from bugzoo.learn import pool
from bugzoo.learn.log import Log

BATCH_MEAN = "layer_norm/batch_mean"


@pytest.fixture
def school(tmp_path, monkeypatch):
    """`school("next")` runs the verb in a fresh workspace; gives exit code and output."""
    monkeypatch.setenv("BUGZOO_EXERCISES", str(tmp_path / "ex"))

    def run(*words, group="learn"):
        found = CliRunner().invoke(cli, [group, *words] if group else list(words))
        error = found.exception
        if isinstance(error, UserError):
            return 2, found.output + str(error)
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return found.exit_code, found.output

    run.folder = tmp_path / "ex"
    return run


def fits(out):
    """No line wider than 78 columns, no box characters; an address may be longer."""
    for line in out.splitlines():
        assert len(line) <= 78 or "http" in line or "/tmp" in line or "ex/" in line, line
        assert line.isprintable() and not re.search(r"[─-╿]", line)


def test_find_from_the_first_screen_to_the_label(school):
    """Start, measure, a wrong answer, the right one, what it taught, the label."""
    code = pool.named(BATCH_MEAN).code
    rc, first = school("next")
    assert rc == 0 and code in first and "step 1 of 30" in first and "instruments" in first
    _, reading = school("look", "sums")
    assert "it must be" in reading
    rc, wrong = school("answer", "17", "scaling")
    assert rc == 1 and "Not line 17" in wrong and "you measured" in wrong
    rc, early = school("explain")
    assert rc == 2 and "is still open" in early
    rc, right = school("answer", "15", "wrong")
    assert (
        rc == 0 and "75 points" in right and "Learned:" in right and "https://github.com" in right
    )
    rc, late = school("answer", "15")
    assert rc == 2 and "is closed (solved)" in late and "learn next" in late
    _, label = school("explain")
    assert BATCH_MEAN in label and "4 miss it" in label
    for out in (first, reading, wrong, right, label, school("list")[1], school("status")[1]):
        fits(out)
    assert "solved" in school("list")[1]
    assert "step 2 of 30" in school("next")[1]


def test_fix_from_the_file_to_solved(school):
    """The exhibit fails, the right program passes, the exit codes say so; a copy is kept on reset."""
    e = pool.named(BATCH_MEAN)
    rc, task = school("start", e.code, "--mode", "fix")
    path = school.folder / e.code / "backward.py"
    assert rc == 0 and "Repair `backward`" in task and path.exists()
    rc, report = school("check")
    assert rc == 1 and "hidden cases fail" in report and "shape of the error" in report
    path.write_text(path.read_text().replace("g.mean()", "g.mean(-1, keepdim=True)"))
    rc, done = school("check", "--json")
    assert rc == 0 and json.loads(done)["solved"] is True
    _, again = school("reset")
    assert "backward.py.1" in again and (path.parent / "backward.py.1").exists()
    rc, _ = school("check")
    assert rc == 1
    path.write_text(path.read_text().replace("mean_g = g.mean()", "raise KeyError('mine')"))
    rc, raised = school("check")
    assert rc == 3 and "KeyError: 'mine'" in raised and "(line 21)" in raised
    for out in (task, report, raised):
        fits(out)


def test_detect_and_its_file_is_a_detector(school):
    """A weak check is scored; its file goes into the big table as it stands."""
    from bugzoo import catalog

    rc, task = school("start", "--op", "layer_norm", "--mode", "detect", "--seed", "41")
    assert rc == 0 and "LN-all-41" in task
    rc, weak = school("check")
    assert rc == 1 and "broken twins caught" in weak and "One survivor" in weak
    fits(weak)
    found = catalog.load(detectors=[school.folder / "LN-all-41" / "check.py"])
    assert not found.problems and "my_check" in found.detectors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check"], "no exercise is open"),
        (["answer", "3"], "no exercise is open"),
        (["check", "LN-d1e387"], "has not been started here"),
        (["start", "LN-12"], "is no code"),
        (["start", "LN-ffffff"], "is not in this version of bugzoo"),
        (["start", "--op", "layernorm"], "Did you mean layer_norm"),
        (["start", "--mode", "finde"], "expected one of find"),
        (["start", "--op", "softmax", "--level", "9"], "expected 1 to 5"),
        (["start", "--op", "softmax", "--seed", "x"], "expected a whole number"),
        (["start", "--op", "plain_step", "--mode", "detect"], "is a training loop"),
        (["start", "--family", "scalling"], "Did you mean scaling"),
        (["chek"], "Did you mean check"),
        (["check", "a/b.py"], "is a path"),
    ],
)
def test_a_bad_input_gets_a_sentence(school, words, said):
    """Exit code 2, what is wrong, what to do; never a traceback."""
    rc, out = school(*words)

    assert rc == 2 and said in out and "Traceback" not in out


def test_bad_inputs_about_an_exercise(school):
    """A line or a kind that is none, an instrument that is none, a mode that has nothing to run."""
    school("next")
    for words, said in [
        (["answer", "99"], "is no line of the exhibit"),
        (["answer", "15", "colour"], "unknown kind"),
        (["look", "suns"], "Did you mean sums"),
        (["check"], "there is nothing to run"),
    ]:
        rc, out = school(*words)
        assert rc == 2 and said in out


def test_a_file_that_is_gone_does_not_parse_or_is_no_text(school):
    """Each is told with the line and the way out, and nothing is scored."""
    e = pool.named(BATCH_MEAN)
    school("start", e.code, "--mode", "fix")
    path = school.folder / e.code / "backward.py"
    for content, said in [
        (None, "is gone. 'bugzoo learn reset'"),
        (b"def (\n", "line 1: invalid syntax"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"x = 1\n", "defines no 'LayerNorm' any more"),
    ]:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        rc, out = school("check")
        assert rc == 2 and said in out
    assert not [x for x in Log(school.folder).events() if x["event"] == "check"]


def test_a_report_in_a_folder_that_cannot_be_written_is_shown(school, monkeypatch):
    """The learner sees the report, the reading, the answer; one sentence says that it was not stored."""
    from bugzoo.learn import log

    fixed, found = pool.named(BATCH_MEAN).code, pool.named("sigmoid/cotangent_ignored").code
    school("start", fixed, "--mode", "fix")
    school("start", found)

    def refuse(path, line):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(log, "_append", refuse)
    for words, shown, code in [
        (["check", fixed], "hidden cases fail", 1),
        (["look", "norm"], "cosine", 0),
        (["hint"], "hint 1 of 4", 0),
        (["answer", "7"], "Not line 7", 1),
        (["answer", str(pool.resolve(found).lines[0])], "Learned:", 0),
        (["start", found], "instruments", 0),
    ]:
        rc, out = school(*words)
        assert rc == code and shown in out, out
        assert out.count("was not stored") == (words[0] != "start")
        assert "--dir" in out or words[0] == "start"
    assert json.loads(school("check", fixed, "--json")[1])["stored"] is False
    for words in (["skip"], ["giveup"], ["start", "--op", "relu", "--seed", "1"]):
        rc, out = school(*words)
        assert rc == 2 and "cannot be written: Permission denied" in out
    fits(school("check", fixed)[1])


def test_a_file_that_another_machine_has_is_written_again(school):
    """Logs alone were merged: what is open is shown and its file is there, as it was handed out."""
    school("start", pool.named(BATCH_MEAN).code, "--mode", "fix")
    file = school.folder / pool.named(BATCH_MEAN).code / "backward.py"
    text = file.read_text()
    file.unlink()
    file.parent.rmdir()
    rc, out = school("next")

    assert rc == 0 and "was not here: it is written as it was handed out" in out
    assert file.read_text() == text
    assert "was not here" not in school("next")[1]


def test_what_is_given_up_is_not_solved_afterwards(school):
    """The label is known: a check that passes then counts nothing, until it is taken up again."""
    e = pool.named(BATCH_MEAN)
    school("start", e.code, "--mode", "fix")
    school("giveup")
    file = school.folder / e.code / "backward.py"
    file.write_text(file.read_text().replace("g.mean()", "g.mean(-1, keepdim=True)"))
    rc, out = school("check", e.code)
    assert rc == 0 and "You gave it up before, so it is not counted" in out
    assert "given up" in school("list")[1]
    assert school("hint", e.code)[0] == 2
    school("start", e.code, "--mode", "fix")
    school("check")
    assert "solved" in school("list")[1].splitlines()[1]


def test_prints_are_shown_once(school):
    """Dozens of passes, one line each with its count; nothing waits for the keyboard."""
    e = pool.named(BATCH_MEAN)
    school("start", e.code, "--mode", "fix")
    file = school.folder / e.code / "backward.py"
    text = file.read_text()
    file.write_text(
        text.replace("        mean_g =", "        print('shape', len(g.shape))\n        mean_g =")
    )
    rc, out = school("check")
    assert rc == 1 and out.count("shape 2   (") == 1 and "Your program printed" in out
    fits(out)
    assert json.loads(school("check", "--json")[1])["printed"]["shape 2"] > 10
    for call, said in [("input()", "EOFError"), ("breakpoint()", "cannot stop a check")]:
        file.write_text(text.replace("        mean_g =", f"        {call}\n        mean_g ="))
        rc, out = school("check")
        assert rc == 3 and said in out


def test_the_screen_shows_the_file_as_it_stands(school):
    """Lines of a report count in the learner's file, so the task shows that one; a broken one too."""
    code = pool.named(BATCH_MEAN).code
    school("start", code, "--mode", "fix")
    file = school.folder / code / "backward.py"
    file.write_text(file.read_text().replace("g.mean()", "g.mean(0)"))
    assert "mean_g = g.mean(0)" in school("next")[1]
    file.write_text(file.read_text() + "def (\n")
    rc, out = school("next")
    assert rc == 0 and "mean_g = g.mean(0)" in out and "def (" in out


def test_a_code_of_an_older_version_is_told(school):
    """The log knows which version made it."""
    folder = school.folder
    folder.mkdir()
    (folder / ".log.jsonl").write_text(
        '{"time": "2025-01-01T00:00:00.000Z", "event": "start", "mode": "find", "code": "LN-ffffff", '
        '"bugzoo": "0.0.1"}\n'
    )
    rc, out = school("look", "sums")

    assert rc == 2 and "is not in this version" in out and "made with bugzoo 0.0.1" in out
    assert "'bugzoo learn skip LN-ffffff' puts it aside" in out
    seen = terminal(folder, ("puts it aside", "s"), ("put aside", "q"))
    assert "Traceback" not in seen


def test_skip_giveup_review_and_place(school):
    """Put aside and take up again; give up and see the label; the family comes back as a fresh mistake."""
    school("next")
    code = pool.named(BATCH_MEAN).code
    assert "put aside" in school("skip")[1]
    assert "step 2 of 30" in school("next")[1]
    school("skip")
    school("start", code)
    rc, label = school("giveup")
    assert rc == 0 and BATCH_MEAN in label
    assert "nothing is due today" in school("review")[1]
    log = school.folder / ".log.jsonl"
    log.write_text(re.sub(r'"time": "20\d\d', '"time": "2020', log.read_text()))
    rc, fresh = school("review")
    assert rc == 0 and "is due for review" in fresh and code not in fresh.splitlines()[2]
    rc, place = school("place")
    assert rc == 0 and "question 1 of 6" in place
    fits(place)


def test_place_leaves_out_the_parts_whose_question_is_solved(school):
    """Six questions; the parts of those solved are done, and the path goes on with the others."""
    from bugzoo.learn.session import Session

    questions = Session().places()
    for number, exercise in enumerate(questions, 1):
        rc, out = school("place")
        assert rc == 0 and f"question {number} of 6" in out and exercise.code in out
        fits(out)
        e = pool.resolve(exercise.code)
        done = school("answer", str(e.lines[0]), e.family) if number != 2 else school("giveup")
        assert done[0] == 0
    rc, out = school("place")

    assert "5 of 6 questions solved" in out and "2  Sums, means and factors (given up)" in out
    assert "step 6 of 30" in school("next")[1]


def test_hints_are_priced_and_end_at_four(school):
    """Each rung once, then the last again."""
    school("next")
    said = [school("hint")[1] for _ in range(5)]

    assert [s.split()[1] for s in said] == ["1", "2", "3", "4", "4"]
    assert "-10" in said[0] and "-30" not in said[4].splitlines()[0]


def test_plant_and_adopt(school, tmp_path):
    """A hidden bug is scored, then becomes a file that verify accepts."""
    school("start", "--op", "softmax", "--mode", "plant", "--seed", "3")
    path = school.folder / "SO-own-3" / "backward.py"
    rc, out = school("check")
    assert rc == 1 and "nothing is planted" in out
    path.write_text(
        path.read_text().replace("        return gy -", "        g.mul_(1.5)\n        return gy -")
    )
    rc, out = school("check")
    assert rc == 0 and "missed by" in out
    to = str(tmp_path / "planted_softmax.py")
    rc, out = school("SO-own-3", "--to", to, group="adopt")
    assert rc == 0 and "wrote" in out
    assert school("SO-own-3", "--to", to, group="adopt")[0] == 2
    rc, out = school("planted_softmax/*", "--specimens", to, group="verify")
    assert rc == 0


def terminal(folder, *lines, wait=40.0):
    """`bugzoo learn` at a pseudo-terminal; each of `lines` is (text to wait for, what to do then)."""
    main, side = pty.openpty()
    environment = {**os.environ, "BUGZOO_EXERCISES": str(folder), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "bugzoo.cli", "learn"],
        stdin=side,
        stdout=side,
        stderr=side,
        env=environment,
    )
    os.close(side)
    seen, at, end = "", 0, time.monotonic() + wait
    queue = list(lines)
    try:
        while time.monotonic() < end:
            if select.select([main], [], [], 0.1)[0]:
                try:
                    seen += os.read(main, 4096).decode()
                except OSError:
                    break
            if queue and queue[0][0] in seen[at:]:
                at = len(seen)
                what = queue.pop(0)[1]
                typed = what() if callable(what) else what
                if typed is not None:
                    os.write(main, typed.encode() + b"\n")
            if not queue and process.poll() is not None:
                break
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert not queue, (queue, seen[-2000:])
    return seen


def test_watch_checks_on_save(school):
    """At a terminal: the exercise is shown, checked when the file is saved, and solved; q ends it."""
    e = pool.named(BATCH_MEAN)
    school("start", e.code, "--mode", "fix")
    path = school.folder / e.code / "backward.py"

    def save():
        path.write_text(path.read_text().replace("g.mean()", "g.mean(-1, keepdim=True)"))
        os.utime(path, (time.time() + 5, time.time() + 5))

    seen = terminal(
        school.folder,
        ("it checks when you save", save),
        ("hidden cases pass", "l"),
        ("solved", "q"),
        wait=90,
    )

    assert "\033[32m" in seen  # green, at a terminal
    assert "saved" in seen


def test_place_is_walked_to_its_end_at_a_terminal(school):
    """Wrong answers, an empty line, too many hints, a question put aside, one given up; then the result."""
    from bugzoo.learn.session import Session

    def right():
        e = pool.resolve(Session(school.folder).progress.open_one().code)
        return f"a {e.lines[0]} {e.family}"

    seen = terminal(
        school.folder,
        ("p place me", "p"), ("question 1 of 6", "a 1"), ("Nothing is counted", "a 8 wrong"),
        ("Not line 8", right),
        ("p question 2 of 6", "p"), ("question 2 of 6, for", right),
        ("p question 3 of 6", "p"), ("question 3 of 6, for", "s"),
        ("p question 4 of 6", "p"), ("question 4 of 6, for", "h"), ("hint 1", "h"), ("hint 2", right),
        ("p question 5 of 6", "p"), ("question 5 of 6, for", right),
        ("p question 6 of 6", "p"), ("question 6 of 6, for", "g"),
        ("p the result", "p"), ("yours to learn", "n"), ("step 11 of 30", "q"),
        wait=400,
    )  # fmt: skip

    assert "3 of 6 questions solved; left out:" in seen
    assert "3  Training loops (put aside)" in seen and "(2 hints)" in seen and "(given up)" in seen
    shown = [s.removeprefix("> ").rstrip() for s in seen.splitlines()]
    assert [s for s in shown if len(s) > 78 and "http" not in s and "/tmp" not in s] == []
    assert Session(school.folder).progress.done_steps == {*range(1, 11), *range(21, 26)}


def test_watch_finds_by_typing(school):
    """An instrument's name buys it; a typing error gets a hint; the answer closes it."""
    seen = terminal(
        school.folder,
        ("n start", "n"), ("answer LINE KIND", "loss"), ("the right", "zzz"), ("no instrument", "a 15 wrong"),
        ("Right: line 15", "q"),
        wait=90,
    )  # fmt: skip

    assert "Learned:" in seen


def test_no_colour_is_no_colour(school, monkeypatch):
    """Not a terminal: no escape sequence anywhere."""
    school("start", pool.named(BATCH_MEAN).code, "--mode", "fix")

    assert "\033" not in school("check")[1] + school("check", "--plain")[1]
