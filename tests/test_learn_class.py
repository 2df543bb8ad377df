"""A class of twenty, five of them hostile: grades are right, and nobody harms the grader or another."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bugzoo.errors import UserError
from bugzoo.learn import pool
from bugzoo.learn.classroom import grade, pack, report, sandbox
from bugzoo.learn.classroom import plan as plans

KEY = b"a secret of the class"
PLAN = """
title = "Week 1"
[[slot]]
mode = "find"
op = "layer_norm"
same = true
[[slot]]
mode = "fix"
op = "softmax"
"""
DETECT = '[[slot]]\nmode = "detect"\nop = "softmax"\n'
HOSTILE = {
    "forks": "import os\nwhile True:\n    os.fork()\n",
    "forks_in_c": (
        "import ctypes, sys\nfor m in list(sys.modules.values()):\n"
        "    c = getattr(m, 'ctypes', None)\n"
        "    if c is not None and hasattr(c, 'pythonapi'):\n"
        "        try:\n            f = c.CDLL(None).fork\n"
        "            while True:\n                f()\n"
        "        except PermissionError:\n            pass\nraise RuntimeError('refused')\n"
    ),
    "exits": "import os\nos._exit(0)\n",
    "prints": "while True:\n    print('x' * 1000000)\n",
    "patches": "import torch\ntorch.equal = lambda *a: True\ntorch.autograd.grad = lambda *a, **k: [None]\n",
    "deletes": (
        "import os, shutil, pathlib\n"
        "for place in ('VICTIM', os.path.expanduser('~'), '/'):\n"
        "    shutil.rmtree(place, ignore_errors=True)\n"
        "for root, _, names in os.walk('VICTIM'):\n    for n in names:\n"
        "        try:\n            os.remove(root + '/' + n)\n        except OSError:\n            pass\n"
        "open('VICTIM/grades', 'w').write('100')\n"
    ),
    "hangs": "import time\nwhile True:\n    time.sleep(1)\n",
    "spins": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass\n",
    "kills": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n",
    "eats": "held = []\nwhile True:\n    held.append(bytearray(1 << 28))\n",
    "leaves": "import sys\nsys.exit(0)\n",
    "recurses": "def f():\n    f()\nf()\n",
    "forges": ("import torch\ntorch.save({'cases': {}}, 'result.pt')\nimport os\nos._exit(0)\n"),
    "pickles": (
        "import pickle, os\nclass Evil:\n    def __reduce__(self):\n"
        "        return os.system, ('touch VICTIM/pwned',)\n"
        "open('result.pt', 'wb').write(pickle.dumps(Evil()))\nos._exit(0)\n"
    ),
}


@pytest.fixture
def planned(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    return plans.read(tmp_path / "plan.toml")


def class_of(names):
    return tuple(plans.Learner(n, "red" if i % 2 else "blue") for i, n in enumerate(names))


def submit(home, key, plan, learner, find_, fix_):
    """What a learner hands in: the answer's text, and the program made from the exhibit."""
    one, two = (plans.exercise(key, learner.name, s) for s in plan.slots[:2])
    e, f = pool.resolve(one.code), pool.resolve(two.code)
    (home / learner.name / one.code / "answer.txt").write_text(find_(e))
    (home / learner.name / two.code / "backward.py").write_text(fix_(f))


def right_line(e):
    return f"{e.lines[0]} {e.family}\n"


def wrong_line(e):
    return "8 layout-stride\n"


def graded(folder, planned, learners, jobs=2, seconds=4):
    handed = grade.collect(folder, KEY, planned, learners)
    return {
        (g.handed.learner.name, g.handed.slot.number): g
        for g in grade.grade(handed, KEY, jobs=jobs, seconds=seconds)
    }


def test_seeds_come_from_the_secret(planned):
    """The same learner and slot, the same exercise; another learner or another secret, another."""
    one, other = planned.slots[1], planned.slots[0]
    drawn = {plans.exercise(KEY, f"learner{n}", one).code for n in range(12)}
    same = {plans.exercise(KEY, f"learner{n}", other).code for n in range(12)}

    assert len(drawn) > 4 and len(same) == 1
    assert plans.exercise(KEY, "ada", one) == plans.exercise(KEY, "ada", one)
    assert plans.seed(KEY, "ada", one) != plans.seed(b"another secret", "ada", one)


def test_a_pack_holds_nothing_about_the_answers(planned, tmp_path):
    """Neither the line, nor the family, nor the twin's name is in any file of it."""
    (folder,) = pack.write(tmp_path / "packs", KEY, planned, class_of(["ada"]))
    held = {p: p.read_text() for p in folder.rglob("*") if p.is_file()}

    for slot in planned.slots:
        e = pool.resolve(plans.exercise(KEY, "ada", slot).code)
        assert e.broken.label is not None
        for path, text in held.items():
            for word in (
                e.broken.id.partition("/")[2],
                e.broken.operator,
                "line_true",
                "kind_true",
            ):
                assert not word or word not in text, (path, word)
            assert path.name in ("answer.txt",) or e.family not in text
    assert (folder / "README.txt").exists()
    with pytest.raises(UserError, match="exists already"):
        pack.write(tmp_path / "packs", KEY, planned, class_of(["ada"]))
    assert any("line" in line for line in pack.preview(KEY, planned, plans.Learner("ada")))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("", "no \\[\\[slot\\]\\]"),
        ("x =", "not TOML"),
        ('[[slot]]\nmode = "fnd"\n', "expected one of find"),
        ('[[slot]]\nmode = "find"\nopp = "softmax"\n', "Did you mean op"),
        ('[[slot]]\nmode = "find"\nop = "softmx"\n', "Did you mean softmax"),
        ('[[slot]]\nmode = "detect"\n', "detect needs op"),
        ('[[slot]]\nmode = "find"\nlevel = 9\n', "level is a whole number"),
    ],
)
def test_a_plan_that_cannot_be_used_is_told(tmp_path, plan, said):
    """Which slot, what is wrong, what is known."""
    (tmp_path / "p.toml").write_text(plan)

    with pytest.raises(UserError, match=said):
        plans.read(tmp_path / "p.toml")


@pytest.mark.parametrize(
    ("roster", "said"),
    [
        ("", "expected a first line"),
        ("name\nada\n", "expected a first line"),
        ("learner\n../ada\n", "cannot be the name of a folder"),
        ("learner\nada\nADA\n", "is in it twice"),
    ],
)
def test_a_roster_that_cannot_be_used_is_told(tmp_path, roster, said):
    """A name that would leave the folder is no name."""
    (tmp_path / "r.csv").write_text(roster)

    with pytest.raises(UserError, match=said):
        plans.roster(tmp_path / "r.csv")


def test_a_secret_must_be_one(tmp_path):
    """Missing or short: told, with the command that makes one."""
    (tmp_path / "s").write_text("abc")

    with pytest.raises(UserError, match="shorter than 12"):
        plans.secret(tmp_path / "s")
    with pytest.raises(UserError, match="urandom"):
        plans.secret(tmp_path / "none")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux's")
@pytest.mark.slow
def test_twenty_submissions_of_which_five_are_hostile(planned, tmp_path):
    """Twelve right, three wrong, five hostile: each gets its own grade, and everything is still there."""
    names = [f"learner{n:02d}" for n in range(20)]
    learners, home = class_of(names), tmp_path / "packs"
    pack.write(home, KEY, planned, learners)
    (tmp_path / "grades").write_text("precious")
    bad = ["forks", "exits", "prints", "patches", "deletes"]
    for n, learner in enumerate(learners):
        if n < 12:
            submit(home, KEY, planned, learner, right_line, lambda e: e.correct)
        elif n < 15:
            submit(home, KEY, planned, learner, wrong_line, lambda e: e.shown)
        else:
            text = HOSTILE[bad[n - 15]].replace("VICTIM", str(tmp_path))
            submit(home, KEY, planned, learner, right_line, lambda e, t=text: t + e.correct)
    before = sorted(p for p in tmp_path.rglob("*"))
    found = graded(home, planned, learners)

    assert sorted(p for p in tmp_path.rglob("*")) == before
    assert (tmp_path / "grades").read_text() == "precious"
    for n, name in enumerate(names):
        one, two = found[name, 1], found[name, 2]
        assert one.right == (n not in (12, 13, 14)), (name, one.feedback)
        if n < 12:
            assert two.right and two.share == 1.0, (name, two.feedback)
        elif n < 15:
            assert not two.right
        elif bad[n - 15] != "deletes":
            assert not two.right and two.share == 0.0, (name, two.feedback)
    scores = grade.write(tmp_path / "out", list(found.values()), {})
    assert [s["learner"] for s in scores] == names
    assert scores[0]["points"] == 200.0 and scores[0]["of"] == 200
    rows = report.read(tmp_path / "out" / "attempts.csv")
    by_slot = grade.points(rows, {})
    items = report.items(rows, by_slot)
    assert [i["solved"] for i in items] == [17, pytest.approx(12, abs=1)]
    page = report.page("t", items, report.families(rows), report.lines(rows), {}, scores)
    assert "where the wrong line" in page.lower() and "http" not in page.replace("https://", "http")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux's")
@pytest.mark.parametrize("name", ["exits", "forks", "kills"])
def test_a_hostile_program_harms_nobody(name, planned, tmp_path):
    """Its own grade is 0, the others' grades stand, nothing is left behind."""
    hostile(name, planned, tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux's")
@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in HOSTILE if n not in ("exits", "forks", "kills")])
def test_more_hostile_programs_harm_nobody(name, planned, tmp_path):
    """The same for all others that a class may think of."""
    hostile(name, planned, tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandbox is Linux's")
def test_a_submission_may_import_what_python_has(planned, tmp_path):
    """A module of the standard library that nobody had loaded yet, in a program that is right."""
    learners = class_of(["ada"])
    pack.write(tmp_path / "packs", KEY, planned, learners)
    submit(tmp_path / "packs", KEY, planned, learners[0], right_line,
           lambda e: "import cmath\nfrom xml.etree import ElementTree\n" + e.correct)  # fmt: skip
    found = graded(tmp_path / "packs", planned, learners)

    assert found["ada", 2].right, found["ada", 2].feedback


def hostile(name, planned, tmp_path):
    learners = class_of(["good", "bad"])
    home = tmp_path / "packs"
    pack.write(home, KEY, planned, learners)
    submit(home, KEY, planned, learners[0], right_line, lambda e: e.correct)
    text = HOSTILE[name].replace("VICTIM", str(tmp_path))
    submit(home, KEY, planned, learners[1], right_line, lambda e: text + e.correct)
    before = sorted(p for p in tmp_path.rglob("*"))
    begun = time.monotonic()
    found = graded(home, planned, learners)

    assert found["good", 2].right, found["good", 2].feedback
    if name != "deletes":  # all its attempts fail, and what follows is right
        assert not found["bad", 2].right and found["bad", 2].share == 0.0
    assert sorted(p for p in tmp_path.rglob("*")) == before
    assert time.monotonic() - begun < 150
    assert not strays()


def strays():
    """Processes that a sandbox of this process has left."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            mine = f"{sandbox.TOKEN}={os.getpid()}-".encode()
            if pid.isdecimal() and mine in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def test_links_and_missing_files_are_not_followed(planned, tmp_path):
    """A link to another's answer is not read; what is missing is said, with what is there."""
    learners = class_of(["ada", "bob"])
    home = tmp_path / "packs"
    pack.write(home, KEY, planned, learners)
    find_, fix_ = (plans.exercise(KEY, "bob", s) for s in planned.slots)
    theirs = home / "ada" / plans.exercise(KEY, "ada", planned.slots[0]).code / "answer.txt"
    mine = home / "bob" / find_.code / "answer.txt"
    mine.unlink()
    mine.symlink_to(theirs)
    (home / "bob" / fix_.code / "backward.py").unlink()
    handed = {
        (h.learner.name, h.slot.number): h for h in grade.collect(home, KEY, planned, learners)
    }

    assert "is a link" in handed["bob", 1].problem
    assert "is missing" in handed["bob", 2].problem


def test_points_are_a_function_of_the_table():
    """Instruments, wrong answers and hints are paid from the log; other weights score anew."""
    base = {
        "learner": "ada",
        "team": "",
        "slot": "w1-1",
        "mode": "find",
        "op": "softmax",
        "code": "SO-1",
    }
    rows = [
        base | {"event": "look", "instrument": "sums", "right": None, "share": None, "rung": None},
        base | {"event": "answer", "instrument": None, "right": False, "share": None, "rung": None},
        base | {"event": "hint", "instrument": None, "right": None, "share": None, "rung": 2},
        base | {"event": "solve", "instrument": None, "right": True, "share": 1.0, "rung": None},
    ]

    assert grade.points(rows, {})[0]["points"] == 100 - 10 - 15 - 10 - 20
    assert (
        grade.points(rows, {"prices": False, "wrong": 0, "rungs": [0, 0, 0, 0]})[0]["points"] == 100
    )
    assert grade.points([rows[3] | {"share": 0.0}], {})[0]["points"] == 0


def test_a_cell_is_no_formula_and_feedback_ends_no_block(tmp_path):
    """What a submission names or prints cannot become code in a spreadsheet or in Markdown."""
    grade.to_csv(tmp_path / "t.csv", ["a"], [{"a": "=cmd()"}])

    assert (tmp_path / "t.csv").read_text() == "a\n'=cmd()\n"
    assert "```" not in grade._safe("```\x1b[31m")


@pytest.mark.slow
def test_the_class_at_the_command_line(tmp_path):
    """pack, preview, grade, report: files, exit codes, the page."""
    (tmp_path / "plan.toml").write_text(PLAN + DETECT)
    (tmp_path / "r.csv").write_text("learner,team\nada,red\nbob,blue\ncy,red\n")
    (tmp_path / "s").write_bytes(KEY)
    given = ["--roster", "r.csv", "--plan", "plan.toml", "--secret-file", "s"]

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "bugzoo.cli", "class", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    assert run("pack", *given, "--out", "packs").returncode == 0
    assert "line" in run("preview", *given, "--learner", "ada").stdout
    assert "Did you mean ada" in run("preview", *given, "--learner", "adaa").stderr
    done = run("grade", "packs", *given, "--out", "out")
    assert done.returncode == 0, done.stderr
    for name in ("attempts.csv", "scores.csv", "items.csv", "report.html", "feedback/ada.md"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    (tmp_path / "w.toml").write_text("wrong = 1\n")
    assert "w1-1" in run("report", "out", "--weights", "w.toml").stdout
    assert run("report", "nowhere").returncode == 2
    assert run("grade", "nowhere", *given).returncode == 2
