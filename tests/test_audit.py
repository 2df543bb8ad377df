"""The audit of training loops: what is wrong is caught and named, what only looks wrong is passed."""

import random

import audit_more  # noqa: F401  adds to both sets
import numpy as np
import pytest
import torch
import watched_more
from audit_right import RIGHT, batch, classify, loop, net
from audit_wrong import WRONG, stepper
from click.testing import CliRunner
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

import bugzoo
from bugzoo.auditor.audit import period
from bugzoo.auditor.sketch import explain, sketch, solve
from bugzoo.cli import cli
from bugzoo.errors import UserError


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_one_passes(name):
    """No finding on a program that is right, whatever trick it uses."""
    found = bugzoo.audit(RIGHT[name])

    assert found.ok, str(found)


@pytest.mark.parametrize("name", WRONG)
def test_the_wrong_one_is_caught(name):
    """A finding that says what is wrong, with the step or the line where it shows."""
    make_run, words = WRONG[name]

    found = bugzoo.audit(make_run)

    texts = [" ".join(str(f).split()) for f in found.findings]
    assert any(words in text for text in texts), str(found)
    assert all(f.step is not None or f.line for f in found.findings)


@pytest.mark.parametrize("name", [n for n, (_, _, a) in watched_more.NOTED.items() if a])
def test_what_only_the_author_can_judge_is_a_note(name):
    """Left-over windows, a backward for an input, two points, an optimizer that never steps."""
    words = watched_more.NOTED[name][2]
    said = [" ".join(note.what.split()) for note in bugzoo.audit(RIGHT[name]).notes]

    assert any(words in what for what in said), said


def test_a_tensor_that_nobody_trains_is_a_note():
    """It gets gradients and is no parameter; one that autograd.grad is asked about is an input."""
    notes = {
        name: " ".join(note.what for note in bugzoo.audit(RIGHT[name]).notes)
        for name in (
            "gain_is_a_plain_tensor",
            "gain_is_a_parameter",
            "slope_of_the_output_at_the_inputs",
        )
    }

    assert "Gained.gain gets gradients" in notes.pop("gain_is_a_plain_tensor")
    assert not any(notes.values())


@pytest.mark.parametrize("name", ["windows_that_fit", "last_window_is_flushed"])
def test_a_loss_that_is_divided_says_that_accumulation_is_meant(name):
    """No note on the sum of micro-batches, then."""
    assert not any(note.kind == "intent" for note in bugzoo.audit(RIGHT[name]).notes)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "name", ["norms_and_dropout", "vector_quantisation", "mixture_of_experts", "lstm_and_padding"]
)
def test_another_seed_changes_nothing(name, seed):
    """Programs with kinks and choices pass at other points too."""
    assert bugzoo.audit(RIGHT[name], seed=seed).ok


# -- what a finding says


def test_the_parameter_the_step_and_the_line_are_named():
    """The result says which parameter, at which step, in which line, in numbers."""
    found = bugzoo.audit(WRONG["zeroes_only_the_head"][0]).findings[0]

    assert found.where.startswith("0.")
    assert found.step == 2
    assert found.line.startswith("audit_wrong.py:")
    assert (found.yours, found.true) == (2.0, 1.0)


def test_bisection_finds_the_parameter():
    """Only the first layer's gradient is wrong, and it is the first layer that is named."""
    found = bugzoo.audit(WRONG["edited_under_no_grad"][0]).findings[0]

    assert found.where.startswith("0.")
    assert found.yours != pytest.approx(found.true, rel=0.01)


class Mixed(nn.Module):
    """Heads split by a view without the transpose: with `transpose` rows stay apart."""

    def __init__(self, transpose):
        super().__init__()
        self.inner, self.outer, self.transpose = nn.Linear(6, 8), nn.Linear(8, 3), transpose

    def forward(self, x):
        h = self.inner(x)  # [batch, 2 * 4]
        h = h.view(len(x), 2, 4).transpose(0, 1) if self.transpose else h.view(2, len(x), 4)
        h = h.softmax(1 if not self.transpose else -1)
        return self.outer(h.transpose(0, 1).reshape(len(x), 8))


@pytest.mark.parametrize("transpose", [False, True])
def test_mixed_rows_are_a_note(transpose):
    """A forward in which rows of the batch reach one another is told, one in which they do not is not."""
    found = bugzoo.audit(lambda: loop(Mixed(transpose), classify))

    assert found.ok, str(found)
    assert any(n.kind == "rows" for n in found.notes) is not transpose


def test_a_list_holds_the_graphs_and_not_its_newest_member():
    """Losses gathered in a list are told by the name of the list."""

    def make_run():
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        history = []

        def run():
            for _ in range(5):
                optimizer.zero_grad()
                loss = model(torch.randn(4, 6)).square().mean()
                loss.backward()
                history.append(loss)
                optimizer.step()

        return run

    found = bugzoo.audit(make_run).findings

    assert [f.channel for f in found] == ["memory"]
    assert "a list of 4, the variable 'history' in run()" in found[0].cause


def test_numbers_of_intent_are_notes():
    """A straight-through estimator is noted, with its line, and is no finding."""
    found = bugzoo.audit(RIGHT["straight_through_function"])

    assert found.ok
    assert any(n.kind == "convention" and "Round" in n.what for n in found.notes)


def test_the_result_is_a_table_and_plain_data():
    """Like a Checkup: a frame, a dictionary, HTML, a text of 80 columns."""
    found = bugzoo.audit(WRONG["steps_twice"][0])

    assert list(found.to_frame()["channel"]) == ["trajectory"]
    assert found.to_dict()["ok"] is False
    assert "<pre" in found._repr_html_()
    assert all(len(line) <= 80 for line in str(found).splitlines())


# -- what it leaves behind


def test_nothing_is_left_behind():
    """Random states, the default dtype, grad mode and every patched name are as before."""
    names = [
        (torch.autograd, "_engine_run_backward"), (torch.Tensor, "detach"), (torch.Tensor, "register_hook"),
        (torch.optim.Optimizer, "__init__"), (torch.optim.Optimizer, "zero_grad"), (nn.Module, "zero_grad"),
    ]  # fmt: skip
    before = [getattr(*n) for n in names]
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    for make_run in (RIGHT["plain_adam"], WRONG["steps_twice"][0]):
        bugzoo.audit(make_run)
    with pytest.raises(UserError):
        bugzoo.audit(lambda: lambda: 1 / 0)

    assert [getattr(*n) for n in names] == before
    assert "apply" not in vars(torch.autograd.function._SingleLevelFunction)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


def test_the_same_seed_gives_the_same_text():
    """Two audits agree to the last digit."""

    def said():
        return [str(f) for f in bugzoo.audit(WRONG["edited_under_no_grad"][0], seed=3).findings]

    assert said() == said()


def test_a_long_run_is_stopped():
    """The run is left after a few steps, and its own handlers of exceptions do not keep it."""
    count = 0

    def make_run():
        model = net(6, 8, 3)
        optimizer = torch.optim.SGD(model.parameters(), 0.05)

        def run():
            nonlocal count
            for _ in range(100_000):
                count += 1
                try:
                    optimizer.zero_grad()
                    classify(model).backward()
                    optimizer.step()
                except Exception:
                    pass

        return run

    assert bugzoo.audit(make_run).ok
    assert count < 30


def test_work_is_bounded():
    """Passes of a plain loop: 30 steps' worth at most."""
    cost = bugzoo.audit(RIGHT["relu_network_whole_run"]).cost

    assert cost.forwards <= 30
    assert cost.backwards <= 30


# -- mistakes of the user


@pytest.mark.parametrize(
    ("make_run", "words"),
    [
        (lambda: None, "nothing callable"),
        (lambda: 3, "returned int"),
        (lambda: lambda: None, "never calls backward"),
        (lambda: loop(net(6, 8, 3), lambda m: m(batch()[0])), "the training raised RuntimeError"),
        (
            lambda: stepper(net(6, 8, 3), lambda m, o: classify(m).backward()),
            "never steps",
        ),
    ],
)
def test_what_cannot_be_audited_is_said(make_run, words):
    """One message, with what was expected."""
    with pytest.raises(UserError, match=words):
        bugzoo.audit(make_run)


def test_make_run_that_raises_is_said():
    """The error of make_run itself is in the message."""

    def make_run():
        raise ValueError("no such file")

    with pytest.raises(UserError, match="ValueError: no such file"):
        bugzoo.audit(make_run)


def test_no_function_at_all_is_said():
    """A model in place of a function is a mistake of the user."""
    with pytest.raises(UserError, match="expected a function"):
        bugzoo.audit(3)


def test_a_maker_that_is_not_deterministic_is_noted():
    """What differs from build to build cannot be differentiated; the exact oracles still speak."""
    source = random.SystemRandom()

    def make_run():
        model = net(6, 8, 3)

        def loss(m):
            x, y = batch()
            return F.cross_entropy(m(x + source.random()), y)

        return loop(model, loss)

    found = bugzoo.audit(make_run)

    assert found.ok
    assert any("two runs from the same seed differ" in n.what for n in found.notes)


# -- the parts


def test_a_sketch_is_linear():
    """sketch(a x + y) = a sketch(x) + sketch(y), for any size."""
    for n in (3, 24, 1000):
        x, y = torch.randn(n, dtype=torch.float64), torch.randn(n, dtype=torch.float64)

        assert torch.allclose(sketch(2 * x + y), 2 * sketch(x) + sketch(y))


def test_weights_are_found_and_the_plain_story_comes_first():
    """What came since the last step explains a gradient before anything else does."""
    a, b, c = (torch.randn(50, dtype=torch.float64) for _ in range(3))
    p = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    sketches = [sketch(t) for t in (a, b, c)]

    assert explain(sketches, 1, sketch(0.5 * c), p)[0] == pytest.approx([0, 0, 0.5])
    assert explain(sketches, 1, sketch(a + b + c), p)[0] == pytest.approx([1, 1, 1])
    assert solve(sketches, sketch(0.1 * a + c))[0] == pytest.approx([0.1, 0, 1], abs=1e-9)


def test_the_period_of_a_game():
    """Two players in turn make one iteration of two steps; five to one make one of six."""
    assert period([0, 0, 0, 0]) == 1
    assert period([0, 1, 0, 1]) == 2
    assert period([0, 0, 0, 0, 0, 1] * 2) == 6


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class CubeAndTwo(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * g


cube, cube_and_two = Cube.apply, CubeAndTwo.apply


def test_a_function_bound_long_ago_is_met():
    """`apply` taken when the module was imported is seen as well."""

    def with_(function):
        def loss(m):
            x, y = batch()
            return F.cross_entropy(m[2](function(m[0](x))), y)

        return lambda: loop(net(6, 8, 3), loss)

    wrong, right = bugzoo.audit(with_(cube_and_two)), bugzoo.audit(with_(cube))

    assert "CubeAndTwo is not the derivative" in str(wrong)
    assert right.ok


# -- the command

SCRIPT = """
import sys, torch
from helper import make
if "--fail" in sys.argv: raise SystemExit("no data")
model, optimizer = make()
for n in range(50):
    x = torch.randn(8, 4)
    if "--wrong" not in sys.argv: optimizer.zero_grad()
    loss = (model(x) - x[:, :1]).square().mean()
    loss.backward()
    optimizer.step()
    print(loss.item())
"""
HELPER = """
import torch
def make():
    model = torch.nn.Linear(4, 1)
    return model, torch.optim.SGD(model.parameters(), 0.1)
def make_run():
    model, optimizer = make()
    def step():
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    return step
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text(HELPER)
    return tmp_path / "train.py"


def test_a_script_is_audited_unchanged(script):
    """Exit code 0 for the right one, 1 for the wrong one; what the script prints is not shown."""
    right = CliRunner().invoke(cli, ["audit", str(script), "--lr", "1"])
    wrong = CliRunner().invoke(cli, ["audit", str(script), "--wrong"])

    assert (right.exit_code, wrong.exit_code) == (0, 1)
    assert right.output.startswith("ok: no defect in 4 steps")
    assert "train.py:10" in wrong.output


REVERSED = """
import torch
from torch import nn
from torch.autograd import Function

class Reverse(Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -g

body, head = nn.Sequential(nn.Linear(6, 8), nn.Tanh()), nn.Linear(8, 3)
optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], 0.1)
for _ in range(5):
    x = torch.randn(16, 6)
    optimizer.zero_grad()
    nn.functional.cross_entropy(head(Reverse.apply(body(x))), x[:, :3].argmax(1)).backward()
    optimizer.step()
"""


def test_a_surrogate_in_a_script_is_known_in_its_second_run(tmp_path):
    """Another run of the file makes another class of the same name."""
    file = tmp_path / "reversed.py"
    file.write_text(REVERSED)

    done = CliRunner().invoke(cli, ["audit", str(file)])

    assert done.exit_code == 0, done.output
    assert "identity" in done.output


def test_a_maker_in_a_file_is_audited(script):
    """FILE.py::MAKE_RUN, as JSON."""
    made = CliRunner().invoke(cli, ["audit", "--json", f"{script.parent / 'helper.py'}::make_run"])

    assert made.exit_code == 0
    assert '"ok": true' in made.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--fail"], "ends with an error before it has trained: no data"),
        (None, "there is no file"),
    ],
)
def test_scripts_that_cannot_be_run_are_said(script, args, words):
    """One message for a script that leaves with an error, or is not there."""
    given = [str(script), *args] if args else ["nowhere.py"]

    made = CliRunner().invoke(cli, ["audit", *given])

    assert isinstance(made.exception, UserError)
    assert words in str(made.exception)
