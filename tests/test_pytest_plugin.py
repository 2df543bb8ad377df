"""The pytest plugin: what a test run shows of right and wrong gradients, and what it costs others."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import _pytest.pytester
import pytest
from _pytest.pytester import SysModulesSnapshot

import bugzoo

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent
# Once installed, the entry point loads it; a checkout that is only on the path needs to be told.
INSTALLED = any(e.value == "bugzoo.pytest_plugin" for e in entry_points(group="pytest11"))
LOAD = [] if INSTALLED else ["-p", "bugzoo.pytest_plugin"]
OPS = """
import torch
from torch.autograd import Function


class Swish(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * s * (1 + x * (1 - s))


class Wrong(Swish):
    @staticmethod
    def backward(ctx, g):
        return Swish.backward(ctx, g) * 2


class Round(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g


def inputs(seed):
    gen = torch.Generator().manual_seed(seed)
    return (torch.randn(3, 4, generator=gen, dtype=torch.float64),)
"""
HEAD = "import contextlib, pytest, torch, bugzoo\nfrom ops import *\n"
STRICT = ["--strict-markers", "-W", "error"]


def stays(name):
    """All modules but the files of the run."""
    return name not in ("ops", "test_ops", "conftest")


@pytest.fixture
def lasting(monkeypatch):
    """A run in this process may not make torch forget what it has imported: it cannot import twice."""
    monkeypatch.setattr(
        _pytest.pytester, "SysModulesSnapshot", lambda preserve=None: SysModulesSnapshot(stays)
    )


@pytest.fixture
def run(lasting, pytester, monkeypatch):
    """Runs pytest in this process on a test file beside OPS; returns the result."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    pytester.makepyfile(ops=OPS)
    pytester.syspathinsert()

    def go(tests, *options, apart=False, load=LOAD):
        pytester.makepyfile(test_ops=HEAD + tests)
        runner = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return runner(*load, *STRICT, "-p", "no:cacheprovider", *options)

    return go


RIGHT_AND_WRONG = """
def test_right(check_backward):
    found = check_backward(Swish.apply, inputs)
    assert type(found).__name__ == "Checkup" and found.ok

def test_wrong(check_backward):
    check_backward(Wrong.apply, inputs)
"""


def test_the_wrong_one_fails_and_the_right_one_passes(run):
    """The failure is the checkup's text with both numbers, the call, the seed, the command; no stack."""
    result = run(RIGHT_AND_WRONG)
    out = result.stdout.str()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_wrong _*",
            "value: the gradient is not the derivative (yours *, true *)*",
            "1 finding (* forwards, * backwards, * s)",
            "1. value: the gradient is not the derivative",
            "  where: input 0[[]*",
            "  yours *, true *, ratio 2",
            "called: test_ops.py:9: check_backward(Wrong.apply, inputs)",
            "again:  pytest test_ops.py::test_wrong   (seed 0)",
            "FAILED test_ops.py::test_wrong - value: the gradient is not the derivative*",
        ],
        consecutive=False,
    )
    assert "Traceback" not in out and "pytest_plugin.py" not in out and "Failed:" not in out


@pytest.mark.parametrize("option", ["-vv", "--tb=short", "--tb=line", "--tb=no", "--tb=native"])
def test_the_summary_is_one_line_whatever_the_style(run, option):
    """-vv and CI would print the whole message there."""
    result = run(RIGHT_AND_WRONG, option)
    summary = [line for line in result.outlines if line.startswith("FAILED")]
    after = result.outlines[result.outlines.index(summary[0]) + 1]

    assert "value: the gradient is not the derivative" in summary[0]
    assert "1 failed, 1 passed" in after
    if option == "--tb=line":
        result.stdout.fnmatch_lines(["*test_ops.py:9: value: the gradient*"])


def test_the_machines_report_has_headline_and_text(run, pytester):
    """JUnit XML: the message in one line, the text whole."""
    run(RIGHT_AND_WRONG, "--junitxml=out.xml")
    xml = (pytester.path / "out.xml").read_text()

    assert 'message="value: the gradient is not the derivative (yours' in xml
    assert "ratio 2" in xml and "again:  pytest test_ops.py::test_wrong" in xml


def test_notes_are_shown_with_rP(run):
    """What a passing check had to say."""
    tests = """
def test_kinks(check_backward):
    check_backward(torch.relu, (torch.zeros(3, dtype=torch.float64),))
"""
    result = run(tests, "-rP")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*Captured bugzoo call*",
            "test_ops.py:5: check_backward(torch.relu,*",
            "ok: *",
            "convention: *",
        ]
    )
    assert "Captured bugzoo" not in run(tests).stdout.str()


def test_a_marker_holds_the_options_and_the_call_comes_first(run):
    """Of a module, a class, a test: the closest one; and a declared gradient is no failure."""
    result = run("""
pytestmark = pytest.mark.backward(seed=3, budget=30)

@pytest.mark.backward(seed=4, declare="straight_through")
class TestDeclared:
    def test_class(self, check_backward):
        assert check_backward(Wrong.apply, inputs).seed == 4

    @pytest.mark.backward(seed=5)
    def test_own(self, check_backward):
        assert check_backward(Wrong.apply, inputs).seed == 5
        assert check_backward(Wrong.apply, inputs, seed=6).seed == 6

def test_undeclared(check_backward):
    check_backward(Wrong.apply, inputs)

@pytest.mark.backward(budget=1e-9)
def test_no_time(check_backward):
    assert [n for n in check_backward(Swish.apply, inputs).notes if "no time" in n.what]
""")

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["again:  pytest test_ops.py::test_undeclared   (seed 3)"])


@pytest.mark.parametrize(
    ("mark", "call", "message"),
    [
        (
            "budjet=1.0",
            "Swish.apply, inputs",
            "unknown option 'budjet'; expected *Did you mean budget?",
        ),
        ("1.0", "Swish.apply, inputs", "@pytest.mark.backward(1.0,): expected keywords*"),
        ("budget=-1", "Swish.apply, inputs", "budget=-1: expected seconds, 0 or more"),
        ("seed='x'", "Swish.apply, inputs", "seed='x': expected a whole number"),
        ("declare='trust_me'", "Swish.apply, inputs", "unknown declaration 'trust_me'; expected*"),
        ("", "torch.neg, (torch.tensor([1, 2]),)", "no differentiable input: got torch.int64*"),
        ("", "lambda x: 3, inputs", "the function returns no floating or complex tensor*"),
        ("", "broken, inputs", "the function raised on the inputs given: ZeroDivisionError*"),
    ],
)
def test_a_mistake_is_a_message_and_no_stack(run, mark, call, message):
    """Of the marker, the inputs, the function; with the line of the user's that raised."""
    result = run(f"""
def broken(x):
    return x / (1 // 0)

@pytest.mark.backward({mark})
def test_it(check_backward):
    check_backward({call})
""")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["not examined: " + message.replace("[", "[[]")])
    result.stdout.fnmatch_lines(["called: test_ops.py:9: check_backward(*"])
    assert "Traceback" not in result.stdout.str()
    if "broken" in call:
        result.stdout.fnmatch_lines(["raised: test_ops.py:5: return x / (1 // 0)"])


def test_classes_are_taken_as_the_command_line_takes_them(run):
    """A Function by its apply, a module class by an instance."""
    result = run("""
class Tanh(torch.nn.Module):
    def forward(self, x):
        return x.tanh()

def test_function(check_backward):
    check_backward(Swish, inputs)

def test_wrong_function(check_backward):
    check_backward(Wrong, inputs)

def test_module(check_backward):
    check_backward(Tanh, inputs)
""")

    result.assert_outcomes(passed=2, failed=1)


def test_the_surroundings_change_nothing(run):
    """No gradients, warnings as errors, many threads: the same verdict, and all as it was after."""
    result = run("""
import warnings

def warns(x):
    warnings.warn("odd inputs")
    return x.sin()

def test_it(check_backward):
    torch.set_num_threads(2)
    state = torch.random.get_rng_state()
    assert check_backward(warns, inputs).done == bugzoo.check(torch.sin, inputs).done
    with torch.no_grad():
        check_backward(Swish.apply, inputs)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        check_backward(Swish.apply, inputs)
    assert torch.get_num_threads() == 2
    assert torch.equal(state, torch.random.get_rng_state())
    torch.set_num_threads(1)
    with pytest.raises(UserWarning):
        warnings.warn("still an error")
""")

    result.assert_outcomes(passed=1)


def test_an_expected_failure_is_one(run):
    """xfail, and several calls in one test: the one that failed is named."""
    result = run("""
@pytest.mark.xfail(strict=True)
def test_known(check_backward):
    check_backward(Wrong.apply, inputs)

def test_many(check_backward):
    for fn in (Swish.apply, Wrong.apply):
        check_backward(fn, inputs)
""")

    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["called: test_ops.py:10: check_backward(fn, inputs)"])


def test_the_command_runs_from_where_pytest_was_started(run, pytester, monkeypatch):
    """From a folder below the root, for ids that a shell would tear apart."""
    pytester.makeini("[pytest]")
    below = pytester.mkdir("below")
    (below / "test_below.py").write_text(
        HEAD + "@pytest.mark.parametrize('name', ['a b', '$x'])\n"
        "def test_wrong(check_backward, name):\n    check_backward(Wrong.apply, inputs)\n"
    )
    monkeypatch.chdir(below)
    result = run("", "test_below.py")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "called: test_below.py:5: check_backward(Wrong.apply, inputs)",
            "again:  pytest 'test_below.py::test_wrong[[]a b]'   (seed 0)",
            "again:  pytest 'test_below.py::test_wrong[[]$x]'   (seed 0)",
        ]
    )


def test_it_works_under_xdist(run):
    """Two workers; the text arrives whole."""
    pytest.importorskip("xdist")
    result = run(RIGHT_AND_WRONG, "-n", "2", apart=True)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "1. value: the gradient is not the derivative",
            "again:  pytest test_ops.py::test_wrong   (seed 0)",
            "FAILED test_ops.py::test_wrong - value: the gradient is not the derivative*",
        ]
    )


def test_it_can_be_switched_off(run):
    """-p no:bugzoo: other tests run, its fixtures are unknown, its marker is refused."""
    others = run("def test_other():\n    pass\n", "-p", "no:bugzoo", load=[])
    users = run(RIGHT_AND_WRONG, "-p", "no:bugzoo", load=[])
    test = "@pytest.mark.backward\ndef test_marked():\n    pass\n"
    marked = run(test, "-p", "no:bugzoo", load=[], apart=True)  # this process knows the marker

    others.assert_outcomes(passed=1)
    users.assert_outcomes(errors=2)
    users.stdout.fnmatch_lines(["*fixture 'check_backward' not found"])
    marked.assert_outcomes(errors=1)


ENTRY = {
    "METADATA": "Name: bugzoo-bench\nVersion: 1\n",
    "entry_points.txt": "[pytest11]\nbugzoo=bugzoo.pytest_plugin\n",
}
TWICE = {
    "entry point": ([], ""),
    "entry point and -p": (["-p", "bugzoo.pytest_plugin"], ""),
    "entry point and its name": (["-p", "bugzoo"], ""),
    "entry point and conftest": ([], "pytest_plugins = ['bugzoo.pytest_plugin']"),
    "all, in workers": (["-p", "bugzoo", "-n", "1"], "pytest_plugins = ['bugzoo.pytest_plugin']"),
}


@pytest.mark.parametrize("way", TWICE)
def test_it_is_loaded_once(run, pytester, monkeypatch, way):
    """However many ways ask for it, with the entry point that an installation brings."""
    options, conftest = TWICE[way]
    folder = pytester.mkdir("bugzoo_bench-1.dist-info")
    for name, text in ENTRY.items():
        (folder / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    pytester.makeconftest(conftest)
    test = "def test_right(check_backward):\n    check_backward(Swish.apply, inputs)\n"

    run(test, *options, load=[], apart=True).assert_outcomes(passed=1)


def test_fixtures_and_marker_explain_themselves(run):
    """pytest --fixtures, pytest --markers."""
    fixtures, markers = run("", "--fixtures").stdout.str(), run("", "--markers").stdout.str()

    assert "the test fails unless the backward of fn is right" in fixtures
    assert "watch_training" in fixtures and "audit_training" in fixtures
    assert "@pytest.mark.backward(budget=None, declare=(), seed=0):" in markers


@pytest.mark.parametrize("absent", ["torch", "numpy", "pandas", "click"])
def test_who_does_not_use_it_does_not_pay(absent):
    """Every pytest run imports the plugin: it brings nothing heavy along."""
    code = f"import bugzoo.pytest_plugin, sys; sys.exit('{absent}' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- training: watch and audit stand in here for the real ones

STAND_IN = """
import bugzoo, pytest
from contextlib import contextmanager
from bugzoo.errors import UserError
from bugzoo.finding import Finding, Note, Result

LOST = Finding("trajectory", "gradients survive a step", "layer.weight", step=2, line="train.py:41")

@contextmanager
def watch(models, optimizers, *, every=1):
    if models is None:
        raise UserError("no model to watch: got None")
    log = Result(notes=[Note("skipped", f"every {every}")])
    try:
        yield log
    finally:
        log.findings += [LOST] if optimizers == "wrong" else []

def audit(make_run, *, seed=0):
    steps = make_run()
    return Result(findings=[LOST, LOST] if steps() == "wrong" else [], seed=seed)

@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(bugzoo, "watch", watch, raising=False)
    monkeypatch.setattr(bugzoo, "audit", audit, raising=False)
"""


def test_a_training_loop_is_watched(run, pytester):
    """The log is the target of `with`; its findings fail the test, its notes are shown."""
    pytester.makeconftest(STAND_IN)
    result = run(
        """
def test_right(watch_training):
    with watch_training("model", "right", every=2) as log:
        assert log.ok

def test_wrong(watch_training):
    with watch_training("model", "wrong"):
        pass

def test_stacked(watch_training):
    with contextlib.ExitStack() as stack:
        stack.enter_context(watch_training("model", "wrong"))

def test_nothing(watch_training):
    with watch_training(None, "right"):
        pass

def test_raises(watch_training):
    with watch_training("model", "wrong"):
        raise ValueError("the loop's own")
""",
        "-rP",
    )

    result.assert_outcomes(passed=1, failed=4)
    result.stdout.fnmatch_lines(
        [
            "trajectory: gradients survive a step (step 2, train.py:41)",
            "  at: step 2, train.py:41",
            "called: test_ops.py:9: with watch_training(*",
            "again:  pytest test_ops.py::test_wrong",
            "called: test_ops.py:14: stack.enter_context(*",
            "not examined: no model to watch: got None",
            "E*ValueError: the loop's own",
            "*Captured bugzoo call*",
            "1. trajectory: gradients survive a step",
            "*Captured bugzoo call*",
            "skipped: every 2",
        ]
    )
    assert "contextlib.py" not in result.stdout.str()


def test_a_training_loop_is_audited(run, pytester):
    """Both findings are told; the headline says how many more there are."""
    pytester.makeconftest(STAND_IN)
    result = run("""
def test_right(audit_training):
    assert audit_training(lambda: lambda: "right").ok

def test_wrong(audit_training):
    audit_training(lambda: lambda: "wrong", seed=7)
""")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "trajectory: gradients survive a step (step 2, train.py:41), and 1 more",
            "2. trajectory: gradients survive a step",
            "again:  pytest test_ops.py::test_wrong   (seed 7)",
        ]
    )


LOOPS = """
class Half(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] * g

def build():
    gen = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(4, 2).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=gen))
    return gen, model, torch.optim.SGD(model.parameters(), lr=0.01)

def train(gen, model, optimizer, square, zero=True):
    for _ in range(4):
        if zero:
            optimizer.zero_grad()
        square(model(torch.randn(8, 4, generator=gen, dtype=torch.float64))).mean().backward()
        optimizer.step()

def make_run(square):
    def made():
        parts = build()
        return lambda: train(*parts, square)
    return made
"""


@pytest.mark.skipif(not hasattr(bugzoo, "watch"), reason="there is no bugzoo.watch here")
def test_the_real_watch_fails_a_test(run):
    """Gradients that nobody clears: step and parameter stand in the failure."""
    result = run(
        LOOPS
        + """
def test_right(watch_training):
    gen, model, optimizer = build()
    with watch_training(model, optimizer) as log:
        train(gen, model, optimizer, torch.square)
    assert log.ok

def test_wrong(watch_training):
    gen, model, optimizer = build()
    with watch_training(model, optimizer):
        train(gen, model, optimizer, torch.square, zero=False)

def test_mistake(watch_training):
    with watch_training("model", None):
        pass
"""
    )

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["trajectory: *(step 2*", "*where: weight*", "called: test_ops.py:*"]
    )
    result.stdout.fnmatch_lines(["not examined: *"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.skipif(not hasattr(bugzoo, "audit"), reason="there is no bugzoo.audit here")
def test_the_real_audit_fails_a_test(run):
    """A wrong Function inside a run."""
    result = run(
        LOOPS
        + """
def test_right(audit_training):
    assert audit_training(make_run(torch.square)).ok

def test_wrong(audit_training):
    audit_training(make_run(Half.apply))

def test_mistake(audit_training):
    audit_training(lambda: 3)
"""
    )

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["value: *Half*", "called: test_ops.py:*", "not examined: *"])
    assert "Traceback" not in result.stdout.str()
