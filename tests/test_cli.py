"""The command line: what it prints, its exit codes, and one message for each mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bugzoo import cli

ROOT = Path(__file__).parent.parent
LIAR = """
from torch.autograd import Function
from bugzoo import bug, correct
from bugzoo.cases import normal

@correct(cases=[normal("plain", (2, 3)), normal("other", (3, 3))], reference=lambda x: 2 * x)
class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, g):
        return 2 * g

@bug(wrong="once", family="scaling", channel="value", shown_by="plain", hidden_by="other")
class Once(Double):
    @staticmethod
    def backward(ctx, g):
        return 1 * g
"""


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command line in this process; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bugzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def test_help_lists_every_verb(call):
    """The seven verbs are there."""
    code, out, _ = call("--help")

    assert code == 0
    for verb in ("run", "list", "show", "verify", "report", "new", "doctor"):
        assert f"\n  {verb} " in out


def test_list_as_json_has_the_promised_keys(call):
    """Bugs and controls; the correct twins only with --all."""
    code, out, _ = call("list", "--json")
    listed = json.loads(out)

    assert code == 0
    assert {"id", "kind", "family", "channel", "control", "seen", "cases"} <= set(listed[0])
    assert "layer_norm/batch_mean" in [r["id"] for r in listed]
    assert "layer_norm/layer_norm" not in [r["id"] for r in listed]
    assert len(json.loads(call("list", "--all", "--json")[1])) > len(listed)


@pytest.mark.parametrize("what", ["specimens", "detectors", "families", "channels", "reports"])
def test_lists_fit_80_columns(call, what):
    """Every kind of list, as a person sees it in a pipe."""
    code, out, _ = call("list", what)

    assert code == 0
    assert out.strip()
    assert max(map(len, out.splitlines())) <= 80


def test_show_prints_label_diff_and_witness(call):
    """All that a museum visitor wants."""
    code, out, _ = call("show", "layer_norm/batch_mean")

    assert code == 0
    assert "mean(g) is taken over the whole batch" in out
    assert "+        mean_g = g.mean()" in out
    assert "equal on 3 probes" in out
    assert "true" in out


def test_show_as_json(call):
    """The same for machines."""
    shown = json.loads(call("show", "layer_norm/batch_mean", "--json")[1])

    assert shown["family"] == "wrong-math"
    assert all(c["holds"] for c in shown["claims"])


def test_unknown_names_come_with_near_ones(call):
    """One message, exit code 2, no traceback."""
    code, out, err = call("show", "layer_norm/batch_means")

    assert code == 2
    assert out == ""
    assert "Did you mean layer_norm/batch_mean" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 3


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("f", "expected FILE.py::NAME"),
        ("gone.py::f", "there is no file gone.py"),
        ("notes.md::f", "notes.md is no Python file; expected FILE.py::NAME"),
        ("broken.py::f", "broken.py cannot be run: SyntaxError"),
        ("ops.py::g", "ops.py holds no 'g'"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_message(call, tmp_path, monkeypatch, address, said):
    """Of an operation to check: exit code 2, no traceback."""
    (tmp_path / "notes.md").write_text("# Notes")
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "ops.py").write_text("def f(x):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = call("check", address, "--inputs", "ops.py::f")

    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("lst",),
        ("verify", "no_such/*"),
        ("list", "animals"),
        ("verify", "--seeds", "-1"),
        ("verify", "--specimens", "/no/such/file.py"),
        ("show",),
        ("new", "specimen", "Not-A-Name"),
        ("new", "specimen", "class"),
    ],
)
def test_mistakes_end_with_code_2_and_no_traceback(call, arguments):
    """Whatever is wrong with the words of a call."""
    code, _, err = call(*arguments)

    assert code == 2
    assert err.strip()
    assert "Traceback" not in err


def test_verify_holds_for_one_file(call):
    """Exit code 0 and the witness in numbers."""
    code, out, _ = call("verify", "layer_norm/*")

    assert code == 0
    assert "all true" in out
    assert "wrong" in out
    assert max(map(len, out.splitlines())) <= 80


def test_verify_catches_a_lying_label(call, tmp_path):
    """hidden_by names a case that shows the bug: exit code 1 and the word LIE."""
    path = tmp_path / "liar.py"
    path.write_text(LIAR)
    code, out, _ = call("verify", "liar/*", "--specimens", path)

    assert code == 1
    assert "LIE hidden other" in out
    assert "1 lies" in out


def test_a_malformed_file_ends_the_command_unless_told_to_go_on(call, tmp_path):
    """Named with its reason; --keep-going leaves it out."""
    path = tmp_path / "torn.py"
    path.write_text("def (")
    code, _, err = call("verify", "relu/*", "--specimens", path)

    assert code == 2
    assert "torn.py: line 1: syntax error" in err
    code, out, err = call("verify", "relu/*", "--specimens", path, "--keep-going")
    assert code == 0
    assert "left out" in err and "all true" in out


def test_new_specimen_passes_verify_as_it_stands(call, tmp_path):
    """The template is a true specimen."""
    code, out, _ = call("new", "specimen", "my_square", "--to", tmp_path)

    assert code == 0
    assert "bugzoo verify 'my_square/*'" in out
    code, out, _ = call("verify", "my_square/*", "--specimens", tmp_path / "my_square.py")
    assert code == 0, out


def test_new_never_overwrites(call, tmp_path):
    """A second call with the same name is refused."""
    call("new", "detector", "my_check", "--to", tmp_path)
    code, _, err = call("new", "detector", "my_check", "--to", tmp_path)

    assert code == 2
    assert "exists already" in err


def test_new_detector_tells_right_from_wrong(call, tmp_path):
    """The template is a true detector."""
    import torch

    from bugzoo import catalog
    from bugzoo.subject import subject

    call("new", "detector", "my_check", "--to", tmp_path)
    found = catalog.load(detectors=[tmp_path])
    check = found.detectors["my_check"]
    for name, outcome in (("batch_mean", "alarm"), ("layer_norm", "clear")):
        s = found.specimens[f"layer_norm/{name}"]
        given = subject(s, s.case("rows"))
        assert check(given, torch.Generator().manual_seed(0)).outcome == outcome


def test_doctor_says_what_it_finds(call):
    """Versions, threads; nothing is shadowed here."""
    code, out, _ = call("doctor")

    assert code == 0
    assert "torch" in out and "cores" in out


def test_doctor_warns_of_a_foreign_package(tmp_path):
    """Another distribution's `detectors` before ours on the path is named, exit code 1."""
    (tmp_path / "detectors").mkdir()
    (tmp_path / "detectors" / "__init__.py").write_text("'''someone else's'''\n")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "bugzoo.cli", "doctor"],
        capture_output=True, text=True, env=env, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    assert "another distribution's" in done.stderr


def test_help_imports_neither_torch_nor_pandas():
    """`bugzoo --help` stays fast because nothing heavy is loaded."""
    code = (
        "import sys; sys.argv = ['bugzoo', '--help']\n"
        "from bugzoo import cli\n"
        "try:\n    cli.main()\n"
        "except SystemExit:\n    pass\n"
        "sys.exit(bool({'torch', 'pandas', 'rich', 'numpy'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
