"""`bugzoo mutate` from end to end, on small projects, as a user calls it."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

OPS = """import torch
from torch.autograd import Function


class Cube(Function):
    @staticmethod
    def forward(x, k):
        return k * x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, k = inputs
        ctx.save_for_backward(x)
        ctx.k = k

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.k * 3 * x**2 * g, None


class Net(torch.nn.Module):
    def __init__(self, n, m=3):
        super().__init__()
        self.linear = torch.nn.Linear(n, m)

    def forward(self, x):
        h = self.linear(x)
        return torch.tanh(h - h.mean(-1, keepdim=True))


def train(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def inputs(seed):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, generator=gen, dtype=torch.float64, requires_grad=True), 2.0


def no_inputs(seed):
    raise RuntimeError("out of numbers")


plain = 3
"""
TESTS = """import torch
from ops import Cube, Net, train


def test_cube():
    x = torch.randn(4, 3, requires_grad=True)
    Cube.apply(x, 2.0).sum().backward()
    assert torch.allclose(x.grad, 6 * x**2)


def test_net():
    net = Net(4)
    net(torch.randn(5, 4)).sum().backward()
    assert net.linear.weight.grad is not None


def test_train():
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(8, 2)
    y = x.sum(-1, keepdim=True)
    first = train(model, optimizer, x, y)
    for _ in range(20):
        last = train(model, optimizer, x, y)
    assert last < first / 10
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "ops.py").write_text(OPS)
    (tmp_path / "test_ops.py").write_text(TESTS)
    return tmp_path


def call(folder, *words):
    """Exit code, stdout, stderr of `bugzoo mutate`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "bugzoo.cli", "mutate", *words],
        cwd=folder, capture_output=True, text=True, check=False, env=env | {"COLUMNS": "80"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["opps.py::Cube"], "Did you mean ops.py"),
        (["ops.py::Cub"], "Did you mean Cube"),
        (["ops.py::Cube", "--", "nose2"], "expected a pytest command"),
        (["ops.py::Cube", "--sample", "0", "--", "pytest"], "--sample 0"),
        (["ops.py::Cube", "--inputs", "none.py::f"], "--inputs none.py::f"),
        (["ops.py::Cube", "--pairs", "0"], "--pairs 0"),
    ],
)
def test_mistakes_that_are_seen_at_once(project, words, said):
    """Exit code 2, one message, no traceback."""
    code, out, err = call(project, *words)

    assert (code, out) == (2, "")
    assert said in err and "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--inputs", "ops.py::no_inputs"], "no_inputs(0) raises RuntimeError: out of numbers"),
        (["--inputs", "ops.py::inputz"], "no function 'inputz'"),
        ([], "no inputs for Cube"),
        (["--inputs", "ops.py::inputs", "--detectors", "gradchek"], "Did you mean gradcheck"),
        (["--", "pytest", "test_red.py"], "the tests fail on the unmutated code"),
        (["--", "pytest", "test_torn.py"], "the tests cannot be collected"),
        (["--", "pytest", "test_other.py"], "none of the 1 tests imports"),
        (["--", "pytest", "test_ops.py::test_net"], "none of the 1 tests runs Cube"),
    ],
)
def test_mistakes_that_are_seen_later(project, words, said):
    """Bad inputs, bad detectors, red tests, tests that never come near: one message, exit code 2."""
    (project / "test_red.py").write_text(
        "from ops import Cube\ndef test_red():\n    assert 1 == 2\n"
    )
    (project / "test_torn.py").write_text("import no_such_thing\n")
    (project / "test_other.py").write_text("def test_other():\n    pass\n")
    code, _, err = call(project, "ops.py::Cube", *words)

    assert code == 2, err
    assert said in err and "Traceback" not in err


@pytest.mark.slow
def test_a_function_from_end_to_end(project):
    """The file stays as it is; survivors come with witness and a test; --resume and --fail-under."""
    code, out, err = call(
        project, "ops.py::Cube", "--fail-under", "99", "--", "python", "-m", "pytest"
    )

    assert code == 1 and "is under 99" in err, err
    assert (project / "ops.py").read_text() == OPS
    assert "mutation score" in out and "your test did not notice" in out
    assert "torch.autograd.gradcheck(lambda x: Cube.apply(x, 2.0), (x,))" in out
    assert max(map(len, out.split("a test that notices it")[0].splitlines())) <= 80
    assert "</html>" in (project / "mutation" / "report.html").read_text()
    words = ["ops.py::Cube", "--resume", "--json", "--", "python", "-m", "pytest"]
    code, again, err = call(project, *words)
    assert code == 0, err
    (project / "test_ops.py").write_text(TESTS + "\n# changed\n")
    stale = json.loads(call(project, *words)[1])
    assert json.loads(again)["score"] == stale["score"]
    assert json.loads(again)["seconds"] < stale["seconds"]


@pytest.mark.slow
def test_pairs_of_mistakes(project):
    """Two operators a mutant; each has its row in the table."""
    words = ["ops.py::Cube", "--pairs", "8", "--seed", "2", "--json", "--", "pytest"]
    code, out, err = call(project, *words)
    assert code == 0, err
    told = json.loads(out)
    rows = {row["operator"]: row for row in told["by_operator"]}

    assert 0 < len(told["mutants"]) <= 8
    assert all(" + " in m["operator"] for m in told["mutants"])
    assert {n for m in told["mutants"] for n in m["operator"].split(" + ")} == set(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Net", "train"])
def test_modules_and_training_steps(project, name):
    """Some mutants are killed, some survive, each with a witness from the tests' own calls."""
    code, out, err = call(project, f"ops.py::{name}", "--json", "--", "python", "-m", "pytest")
    found = json.loads(out)
    survivors = [m for m in found["mutants"] if m["status"] == "survived"]

    assert code == 0, err
    assert found["counts"]["killed"] and survivors and found["probes"]
    assert all("true" in m["witness"] or "raises" in m["witness"] for m in survivors)


@pytest.mark.slow
def test_every_suggested_test_passes_on_the_original_and_fails_on_its_mutant(project):
    """Written to a file and run by pytest, on the file as it is and on the mutated file."""
    words = ["ops.py::Cube", "--json", "--", "python", "-m", "pytest"]
    found = json.loads(call(project, *words)[1])
    offered = [m for m in found["mutants"] if m["test"]][:3]
    lines = OPS.split("\n")
    start = lines.index("class Cube(Function):")
    end = lines.index("class Net(torch.nn.Module):") - 2

    assert len(offered) == 3
    for mutant in offered:
        (project / "test_suggested.py").write_text(mutant["test"])
        for text, passes in [
            (OPS, True),
            ("\n".join([*lines[:start], mutant["code"], *lines[end:]]), False),
        ]:
            (project / "ops.py").write_text(text)
            run = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "test_suggested.py",
            ]
            done = subprocess.run(run, cwd=project, capture_output=True, text=True, check=False)
            assert (done.returncode == 0) is passes, done.stdout


@pytest.mark.slow
def test_without_tests_the_detectors_are_scored(project):
    """gradcheck catches more than a detector that looks at shapes alone."""
    scores = {}
    for detector in ("gradcheck", "shape_check"):
        words = ["ops.py::Cube", "--inputs", "ops.py::inputs", "--detectors", detector, "--json"]
        code, out, err = call(project, *words)
        assert code == 0, err
        scores[detector] = json.loads(out)["score"]

    assert scores["gradcheck"] > 80 > scores["shape_check"]


@pytest.mark.slow
def test_time_outs_and_crashes_are_no_kills(project):
    """A test that hangs or dies on a mutant: classes of their own, outside the score."""
    (project / "test_bad.py").write_text(
        "import os, time, torch\nfrom ops import Cube\n\n\n"
        "def test_bad():\n"
        "    x = torch.ones(2, requires_grad=True)\n"
        "    y = Cube.apply(x, 1.0)\n"
        "    y.backward(torch.ones(2))\n"
        "    if (x.grad < 0).any():\n        time.sleep(60)\n"
        "    if (x.grad == 0).any():\n        os.abort()\n"
    )
    words = [
        "ops.py::Cube",
        "--timeout-factor",
        "1",
        "--json",
        "--",
        "python",
        "-m",
        "pytest",
        "test_bad.py",
    ]
    found = json.loads(call(project, *words)[1])
    by_name = {m["operator"]: m["status"] for m in found["mutants"]}

    assert by_name["negate_result"] == "timeout"
    assert by_name["return_zeros"] == "crash"
    assert found["counts"]["killed"] + found["counts"]["survived"] < len(found["mutants"])


@pytest.mark.slow
def test_the_process_that_forks_has_one_thread(project):
    """Torch and pytest are imported, all tests collected, and no thread was started."""
    from bugzoo.mutation.project.crew import Crew
    from bugzoo.mutation.project.target import target

    path = [str(project), *sys.path]
    quiet = ["-p", "no:cacheprovider", "-p", "no:terminalreporter", "--rootdir", str(project)]
    with Crew(
        target(f"{project / 'ops.py'}::Cube"),
        pytest=[str(project / "test_ops.py"), *quiet],
        path=path, inputs="", detectors=[], jobs=1,
    ) as crew:  # fmt: skip
        assert crew.hear("tests")["threads"] == 1
        assert crew.hear("probes")["threads"] == 1
