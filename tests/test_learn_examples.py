"""The school in notebooks: the examples run as they stand, and show no answer."""

import ast
import html
import json
import re
import sys
import types
from pathlib import Path

import pytest

from bugzoo import cli, learn
from bugzoo.errors import UserError
from bugzoo.learn import lint, pool
from bugzoo.learn.classroom import plan as plans

# Its cases are square, as causal masks are; an axis that was mixed up shows in them all the same.
KNOWN = {"masked_softmax: all axes have one length in every case, which hides transposes"}
EXAMPLES = Path(__file__).parent.parent / "examples"


def executed(source, space, name):
    """Run a cell as a notebook does; the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space) if last else None


def test_the_jupyter_example_runs_cell_by_cell():
    """Each cell runs after the ones above it; nothing stored, nothing wrong."""
    book = json.loads((EXAMPLES / "school_jupyter.ipynb").read_text())
    space, shown = {"__name__": "__main__"}, []
    for n, cell in enumerate(c for c in book["cells"] if c["cell_type"] == "code"):
        assert cell["outputs"] == []
        shown.append(executed("".join(cell["source"]), space, f"<cell {n}>"))

    assert space["guess"].right is False and "you measured" in repr(space["guess"])
    assert "your coefficient of y is 6" in repr(space["report"])
    assert not space["score"].solved and "broken twins caught" in repr(space["score"])
    assert all(s is not None for s in shown)
    columns = [s._repr_html_() for s in shown if not hasattr(s, "columns")]
    assert len(columns) == 5 and all("font-family:monospace" in c for c in columns)


def test_the_marimo_example_runs_cell_by_cell(monkeypatch):
    """Cells are functions of what they read: run in the order of the file, as marimo would."""
    made = []

    class App:
        def cell(self, function):
            made.append(function)
            return function

    stub = types.ModuleType("marimo")
    stub.App = App
    monkeypatch.setitem(sys.modules, "marimo", stub)
    path = EXAMPLES / "school_marimo.py"
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "example"})
    held = {}
    for cell in made:
        names = cell.__code__.co_varnames[: cell.__code__.co_argcount]
        given = cell(**{n: held[n] for n in names})
        source = path.read_text().splitlines()[cell.__code__.co_firstlineno :]
        out = next(re.search(r"return \((.*),\)", line) for line in source if "return (" in line)
        held |= dict(zip([n.strip() for n in out[1].split(",")], given))

    assert held["guess"].right is False
    assert held["score"].found.caught > 8 and held["score"].found.false_alarms == 0
    assert list(held["table"].columns) == ["what", "value"]


def test_the_documents_hold_what_runs(tmp_path):
    """The plan in docs/class.md is a plan, the Python in docs/learn.md runs."""
    docs = EXAMPLES.parent / "docs"
    plan = re.search(r"```toml\n(.*?)```", (docs / "class.md").read_text(), re.S)[1]
    (tmp_path / "plan.toml").write_text(plan)
    code = re.search(r"```python\n(.*?)```", (docs / "learn.md").read_text(), re.S)[1]
    space = {}
    exec(code, space)

    assert [s.mode for s in plans.read(tmp_path / "plan.toml").slots] == ["find", "fix", "detect"]
    assert space["ex"].code == pool.named("layer_norm/batch_mean").code


@pytest.mark.parametrize("page", ["learn.md", "class.md"])
def test_every_command_of_the_documents_parses(page):
    """The verb exists and takes these options and arguments."""
    lines = (EXAMPLES.parent / "docs" / page).read_text().splitlines()
    listed = [s.split("#")[0].split()[1:] for s in lines if re.match(r"    bugzoo [a-z]", s)]
    for verb, *words in listed:
        command = cli.cli.get_command(None, verb)
        if words and verb in ("learn", "class"):
            command, words = command.get_command(None, words[0]), words[1:]
        assert command is not None
        command.make_context(verb, list(words))
    assert len(listed) > 3


def test_nothing_shown_holds_the_answer():
    """The repr of an exercise, as text and as HTML, names neither line nor family nor twin."""
    e = pool.named("layer_norm/batch_mean")
    for mode in ("find", "fix"):
        ex = learn.start(e.code, mode=mode)
        for said in (repr(ex), html.unescape(ex._repr_html_())):
            assert "batch_mean" not in said and "whole batch" not in said
            assert "keepdim=True)\n" in said  # the program is there


def test_answers_are_logged_only_with_a_workspace(tmp_path):
    """Without a folder nothing is written; with one an answer and a submission are."""
    e = pool.named("layer_norm/batch_mean")
    assert learn.start(e.code).answer(15).right
    ex = learn.start(e.code, mode="fix", folder=tmp_path)
    assert not ex.check(e.shown).solved
    assert ex.submit(e.correct).solved

    assert learn.frame(tmp_path)["event"].tolist() == ["start", "check", "solve"]
    assert learn.check(e.code, e.correct).solved
    with pytest.raises(UserError, match="needs a workspace"):
        learn.start(e.code, mode="fix").submit(e.correct)
    with pytest.raises(UserError, match="use look and answer"):
        learn.start(e.code).check(e.correct)


def test_the_gate_for_authors_sees_what_is_unfit():
    """A twin of the path is fit; one whose exhibit is the right program is not."""
    from dataclasses import replace

    e = pool.named("sigmoid/cotangent_ignored")

    assert list(lint.exhibit(e)) == []
    assert any("solved already" in s for s in lint.exhibit(replace(e, shown=e.correct)))
    many = replace(e, shown=e.shown + "".join(f"\nx{n} = {n}" for n in range(9)) + "\n")
    assert any("lines differ" in s for s in lint.exhibit(many))


@pytest.mark.slow
def test_the_path_is_fit():
    """`bugzoo learn lint` finds nothing on the path."""
    assert list(lint.path()) == []


@pytest.mark.slow
@pytest.mark.parametrize("op", pool.ops())
def test_every_handmade_twin_is_fit(op):
    """So that any of them may be drawn."""
    found = [s for s in lint.operation(op) if "other mistakes are known" not in s]

    assert [s for s in found if s not in KNOWN] == []
