"""The parts of `bugzoo mutate`: target, sample, swap, spy, probes, page."""

import json
import subprocess
import types
from pathlib import Path

import pytest
import torch

from bugzoo.errors import UserError
from bugzoo.mutation.project import breeding, page, probes, spy, swap
from bugzoo.mutation.project.call import Call, observe
from bugzoo.mutation.project.score import Outcome, Result
from bugzoo.mutation.project.since import changed_lines
from bugzoo.mutation.project.target import target

SOURCE = '''"""Two targets."""

import torch
from torch.autograd import Function


class Cube(Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.save_for_backward(x)
        ctx.k = k
        return k * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.k * 3 * x**2 * g, None


class Child(torch.nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x):
        return super().extra_repr(), x
'''
WRONG = """class Cube(Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.save_for_backward(x)
        ctx.k = k
        return k * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.k * 2 * x**2 * g, None
"""
SCHEMA = Path(__file__).parent / "golden" / "mutation-testing-report-schema.json"


@pytest.fixture
def cube(tmp_path):
    """The target, and a module made of its file."""
    path = tmp_path / "ops.py"
    path.write_text(SOURCE)
    module = types.ModuleType("ops")
    exec(compile(SOURCE, str(path), "exec"), module.__dict__)
    return target(f"{path}::Cube"), module


def leaf(*shape):
    gen = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=gen, dtype=torch.float64).requires_grad_()


def test_lines_of_a_target_are_those_of_its_file(cube):
    """Operators work on the target alone, and line numbers stay."""
    found, _ = cube

    assert found.code.startswith("class Cube") and found.code.endswith("* g, None")
    assert found.alone.split("\n")[found.first - 1] == "class Cube(Function):"
    assert "class Child" not in found.alone
    assert found.with_code(found.code) == SOURCE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{path}", "expected FILE.py::NAME"),
        ("{path}::Cubes", "Did you mean Cube?"),
        ("{folder}/op.py::Cube", "no such file"),
        ("{folder}/torn.py::Cube", "cannot be read as Python"),
    ],
)
def test_a_wrong_target_is_told(cube, words, said):
    """With near names."""
    path = cube[0].path
    (path.parent / "torn.py").write_text("def (")

    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        target(words.format(path=path, folder=path.parent))


def test_a_sample_is_drawn_over_operators_and_repeats(cube):
    """The same seed gives the same mutants; no operator twice before each had its turn."""
    made = breeding.bred(cube[0])
    drawn = breeding.sample(made, 8, seed=1)

    assert [m.id for m in drawn] == [m.id for m in breeding.sample(made, 8, seed=1)]
    assert [m.id for m in drawn] != [m.id for m in breeding.sample(made, 8, seed=2)]
    assert len({m.operator for m in drawn}) == 8


def test_a_pragma_spares_a_line_and_a_class(cube):
    """On a line, its mutants are gone; on the class, there is nothing to mutate."""
    path = cube[0].path
    path.write_text(SOURCE.replace("* g, None", "* g, None  # bugzoo: no mutate"))
    spared = breeding.bred(target(f"{path}::Cube"))
    line = SOURCE[: SOURCE.index("* g, None")].count("\n") + 1
    assert not [m for m in spared if m.operator == "drop_factor" and m.first == line]
    path.write_text(SOURCE.replace("(Function):", "(Function):  # bugzoo: no mutate"))

    with pytest.raises(UserError, match="nothing to mutate"):
        breeding.bred(target(f"{path}::Cube"))


def test_since_knows_the_changed_functions(tmp_path):
    """Only mutants of functions with a changed line; an unknown revision is a mistake."""
    path = tmp_path / "ops.py"
    path.write_text(SOURCE)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    assert changed_lines(path, "HEAD") == set()
    path.write_text(SOURCE.replace("ctx.k * 3 * x**2", "ctx.k * 3.0 * x**2"))
    found = target(f"{path}::Cube")
    kept = breeding.within(breeding.bred(found), found, changed_lines(path, "HEAD"))

    assert kept and {m.method for m in kept} == {"backward"}
    with pytest.raises(UserError, match="no_such_rev"):
        changed_lines(path, "no_such_rev")


def test_swapped_code_runs_for_whoever_holds_the_function(cube):
    """A bound apply that was kept runs the mutant, and the original again afterwards."""
    found, module = cube
    kept, x = module.Cube.apply, leaf(3)
    right = torch.autograd.grad(kept(x, 2.0).sum(), x)[0]
    swap.install(module, "Cube", WRONG, found.first)
    wrong = torch.autograd.grad(kept(x, 2.0).sum(), x)[0]
    swap.install(module, "Cube", found.code, found.first)

    assert torch.allclose(wrong, right * 2 / 3)
    assert torch.equal(torch.autograd.grad(kept(x, 2.0).sum(), x)[0], right)


def test_a_swapped_module_finds_its_super(cube):
    """`super()` without arguments works in swapped and in added methods."""
    _, module = cube
    made = module.Child()
    code = target(f"{cube[0].path}::Child").code.replace(
        "return super", "y = x\n        return super"
    )
    swap.install(
        module, "Child", code + "\n    def extra(self):\n        return super().extra_repr()\n", 20
    )

    assert made(1) == ("", 1) and made.extra() == ""


def test_what_is_no_python_function_is_refused(cube):
    """A name that has become something else."""
    found, module = cube
    module.Cube = torch.add

    with pytest.raises(swap.Unswappable):
        swap.install(module, "Cube", WRONG, found.first)


def test_a_spy_sees_the_calls_and_changes_nothing(cube):
    """Values are copied when the call is made; the answer is the original's."""
    found, module = cube
    kept, seen, x = module.Cube.apply, spy.Spy(), leaf(2, 3)
    spy.place(module, "Cube", found.code, found.first, seen)
    y = kept(x, 2.0)
    before = x.detach().clone()
    with torch.no_grad():
        x.zero_()

    assert torch.equal(y, 2.0 * before**3)
    assert [c.names for c in seen.calls] == [("x", "k")]
    assert torch.equal(seen.calls[0].args[0], before) and seen.calls[0].args[0].requires_grad
    assert seen.calls[0].owner is module.Cube


def test_probes_tell_a_wrong_one_and_pass_the_right_one(cube):
    """The original is equal to itself; a wrong constant is awake, with both numbers."""
    found, module = cube
    listed = probes.prepared([Call(module.Cube, (leaf(2, 3), 2.0), {}, ("x", "k"))], "recorded")

    assert {p.layout for p in listed} == {*probes.LAYOUTS, "second"}
    assert probes.judge(listed).kind == "equivalent"
    swap.install(module, "Cube", WRONG, found.first)
    said = probes.judge(listed)
    assert said.kind == "awake" and said.name == "dx" and "(x 0.6667)" in said.words
    assert said.wrong == len([p for p in listed if p.layout not in ("second", "zero")])


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("3 * x**2 * g", "3 * x.detach() ** 2 * g", "second"),
        ("3 * x**2 * g", "3 * x.nothing * g", "stillborn"),
        ("3 * x**2 * g", "g.mul_(3 * x**2)", "awake"),
        ("3 * x**2 * g", "g * x**2 * 3", "equivalent"),
    ],
)
def test_kinds_of_mutants(cube, old, new, kind):
    """Second derivatives alone; raising everywhere; writing into the cotangent; nothing at all."""
    found, module = cube
    listed = probes.prepared([Call(module.Cube, (leaf(2, 3), 2.0), {}, ("x", "k"))], "recorded")
    swap.install(module, "Cube", found.code.replace(old, new), found.first)

    assert probes.judge(listed).kind == kind


def test_a_training_step_is_observed_in_what_it_leaves_behind():
    """Parameters, gradients, buffers and moments; the user's own model is not touched."""
    model = torch.nn.Linear(2, 1).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(model, optimizer, x):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
        return 1.5

    before = model.weight.detach().clone()
    seen = observe(Call(step, (model, optimizer, torch.ones(3, 2).double()), {}), "dense", 0)

    assert {"weight after", "weight.grad", "result0"} <= set(seen)
    assert any("momentum_buffer" in name for name in seen)
    assert not torch.equal(seen["weight after"], before) and torch.equal(model.weight, before)


def outcome(cube):
    made = breeding.bred(cube[0])[:7]
    statuses = ("killed", "survived", "timeout", "crash", "equivalent", "second", "stillborn")
    results = [Result(m, status=s) for m, s in zip(made, statuses)]
    results[0].killed_by = "tests/test_ops.py::test_a[</script>]"
    return Outcome(
        "ops.py::Cube", "ops.py", SOURCE, "pytest", results, reached=[results[0].killed_by]
    )


def test_neither_a_time_out_nor_a_crash_is_a_kill(cube):
    """Killed and survived alone make the score."""
    found = outcome(cube)

    assert (found.killed, found.counted, found.percent) == (1, 2, 50.0)
    assert found.interval[0] < 50 < found.interval[1]


def test_the_report_follows_the_schema(cube):
    """Version 2 of the mutation-testing report schema, and the score of its own component."""
    jsonschema = pytest.importorskip("jsonschema")
    made = page.report(outcome(cube))

    jsonschema.validate(made, json.loads(SCHEMA.read_text()))
    statuses = [m["status"] for f in made["files"].values() for m in f["mutants"]]
    assert statuses.count("Killed") == 1 and "Timeout" not in statuses


def test_the_page_stands_alone(cube):
    """Nothing is fetched, and no text of the user can end the script."""
    text = page.html(page.report(outcome(cube)))

    assert text.count("</script>") == 3
    assert "<script src" not in text and "<link" not in text
