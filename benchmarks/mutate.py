"""bugzoo mutate against mutmut and cosmic-ray: the same file, the same tests, one run.

    python benchmarks/mutate.py [--limit SECONDS] [--cache FOLDER]

mutants/s   mutants judged in the wall time of the whole command; a tool that is still running after
            --limit seconds is stopped, and what it has judged by then counts
noise       share of the mutants in the tool's score that nobody can learn from: equivalent ones among
            its survivors, and stillborn ones among all. Decided for every tool by the same check, with
            other inputs and cotangents than bugzoo's own.

mutmut and cosmic-ray are installed into venvs of their own below --cache, with this Python's
site-packages behind them. What cannot be installed is left out, with a message.
"""

import argparse
import ast
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

PACKAGES = {"mutmut": "mutmut==3.8.1", "cosmic-ray": "cosmic-ray==8.7.0"}
NORM = '''"""Root-mean-square normalisation with a weight, as a custom Function."""

import torch
from torch.autograd import Function


class Norm(Function):
    """y = w x / sqrt(mean(x^2) + eps)"""

    @staticmethod
    def forward(ctx, x, w, eps):
        mean = (x * x).mean(-1, keepdim=True)
        r = (mean + eps).rsqrt()
        n = x * r
        ctx.save_for_backward(n, w, r)
        return n * w

    @staticmethod
    def backward(ctx, g):
        n, w, r = ctx.saved_tensors
        dw = (g * n).sum(tuple(range(g.dim() - 1)))
        gn = g * w
        mean = (gn * n).mean(-1, keepdim=True)
        dx = r * (gn - n * mean)
        return dx, dw, None
'''
TESTS = """import pytest
import torch
from norm import Norm

SHAPES = [(2, 3), (5, 4), (2, 3, 4)]


def reference(x, w, eps):
    return w * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def drawn(*shape):
    gen = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=gen, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward(shape):
    x, w = drawn(*shape), drawn(shape[-1])
    assert torch.allclose(Norm.apply(x, w, 1e-3), reference(x, w, 1e-3))


@pytest.mark.parametrize("shape", SHAPES)
def test_summed(shape):
    x, w = drawn(*shape), drawn(shape[-1])
    Norm.apply(x, w, 1e-3).sum().backward()
    true = torch.autograd.grad(reference(x, w, 1e-3).sum(), (x, w))
    assert torch.allclose(x.grad, true[0])
    assert torch.allclose(w.grad, true[1])


def test_trains():
    x, w = drawn(8, 5), torch.ones(5, dtype=torch.float64, requires_grad=True)
    target = 2 * reference(x, w, 1e-3).detach()
    optimizer = torch.optim.SGD([w], lr=1.0)
    for _ in range(30):
        optimizer.zero_grad()
        ((Norm.apply(x, w, 1e-3) - target) ** 2).mean().backward()
        optimizer.step()
    assert (w - 2).abs().max() < 0.1
"""
# Reads {key: text of a mutated norm.py} and says of each: stillborn, equivalent or different.
CHECK = """
import json, sys, torch
torch.set_num_threads(1)

def observed(text, shape, layout, seed):
    space = {"__name__": "norm"}
    exec(compile(text, "norm.py", "exec"), space)
    gen = torch.Generator().manual_seed(seed)
    found = []
    for turn in range(2):  # twice with the same Function, other values: what it keeps shows
        x = (3 * torch.randn(*shape, generator=gen, dtype=torch.float64)).requires_grad_()
        w = torch.randn(shape[-1], generator=gen, dtype=torch.float64).requires_grad_()
        before = [x.detach().clone(), w.detach().clone()]
        y = space["Norm"].apply(x, w, 1e-3 * (1 + turn))
        g = torch.randn(*y.shape, generator=gen, dtype=torch.float64)
        if layout == "expanded":
            g = torch.ones((), dtype=torch.float64).expand(y.shape)
        elif layout == "transposed":
            g = torch.randn(*y.mT.shape, generator=gen, dtype=torch.float64).mT
        kept = g.clone()
        found += torch.autograd.grad(y, (x, w), g, retain_graph=True, allow_unused=True)
        try:
            found += torch.autograd.grad(y, (x, w), g, retain_graph=True, allow_unused=True)
        except RuntimeError:
            found += [torch.tensor(float("nan"))] * 2  # a second pass is no plain use
        found += [y.detach(), g - kept, x.detach() - before[0], w.detach() - before[1]]
    return found

RIGHT = sys.argv[1]
SETTINGS = [(s, l, n) for n, s in enumerate([(3, 7), (4, 6), (2, 2, 5), (1, 1)])
            for l in ("dense", "expanded", "transposed")]

def same(a, b):
    if a is None or b is None:
        return a is b or not (a if b is None else b).any()
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-9, atol=1e-12)

def kind(text):
    raised = differs = 0
    for setting in SETTINGS:
        try:
            got = observed(text, *setting)
        except Exception:
            raised += 1
            continue
        differs += not all(map(same, got, observed(RIGHT, *setting)))
    return "stillborn" if raised == len(SETTINGS) else "different" if raised + differs else "equivalent"

print(json.dumps({key: kind(text) for key, text in json.load(sys.stdin).items()}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each tool")
    parser.add_argument("--cache", default="~/.cache/bugzoo/mutate", help="folder of the venvs")
    options = parser.parse_args()
    cache = Path(options.cache).expanduser()
    rows = {}
    for name, run in (("bugzoo", bugzoo), ("mutmut", mutmut), ("cosmic-ray", cosmic_ray)):
        home = installed(name, cache) if name in PACKAGES else Path(sys.prefix)
        if home is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = run(laid_out(Path(folder)), home, options.limit)
        show(name, rows[name])
    verdict(rows)


def bugzoo(project: Path, home: Path, limit: float) -> dict:
    """All mutants that `bugzoo mutate` puts into its score."""
    command = [sys.executable, "-m", "bugzoo.cli", "mutate", "norm.py::Norm", "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "--", "python", "-m", "pytest", "-x", "-q", "tests"],
        cwd=project, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    mutants = json.loads(done.stdout)["mutants"]
    lines = NORM.split("\n")
    start = next(n for n, line in enumerate(lines) if line.startswith("class Norm"))
    texts = {m["id"]: "\n".join([*lines[:start], m["code"]]) for m in mutants}
    status = {m["id"]: m["status"] for m in mutants if m["status"] in ("killed", "survived")}
    return judged(texts, status, len(mutants), seconds)


def mutmut(project: Path, home: Path, limit: float) -> dict:
    (project / "setup.cfg").write_text(
        "[mutmut]\nsource_paths=norm.py\npytest_add_cli_args_test_selection=tests\n"
        "also_copy=\n    pytest.ini\n"
    )
    seconds = timed([str(home / "bin" / "mutmut"), "run"], project, limit)
    meta = json.loads((project / "mutants" / "norm.py.meta").read_text())["exit_code_by_key"]
    status = {k: "survived" if v == 0 else "killed" for k, v in meta.items() if v is not None}
    return judged(mutmut_texts(project, list(status)), status, len(status), seconds)


def mutmut_texts(project: Path, keys: list) -> dict:
    """The original with one method replaced by one of the variants that mutmut has written beside it."""
    tree = ast.parse((project / "mutants" / "norm.py").read_text())
    variants = {f.name: f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}
    made = {}
    for key in keys:
        name = key.rpartition(".")[2]
        method = name.split("ǁ")[2].partition("__mutmut")[0]
        new = ast.parse(NORM)
        (cls,) = (n for n in new.body if isinstance(n, ast.ClassDef))
        for old in cls.body:
            if isinstance(old, ast.FunctionDef) and old.name == method:
                old.body, old.args = variants[name].body, variants[name].args
        made[key] = ast.unparse(new)
    return made


def cosmic_ray(project: Path, home: Path, limit: float) -> dict:
    command = f"{sys.executable} -m pytest -x -q tests"
    (project / "cr.toml").write_text(
        f'[cosmic-ray]\nmodule-path = "norm.py"\ntimeout = 30.0\nexcluded-modules = []\n'
        f'test-command = "{command}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    tool = str(home / "bin" / "cosmic-ray")
    subprocess.run([tool, "init", "cr.toml", "s.sqlite"], cwd=project, check=True)
    seconds = timed([tool, "exec", "cr.toml", "s.sqlite"], project, limit)
    with sqlite3.connect(project / "s.sqlite") as database:
        found = database.execute(
            "select r.job_id, r.test_outcome, m.operator_name, m.occurrence from work_results r "
            "join mutation_specs m on r.job_id = m.job_id"
        ).fetchall()
    status = {job: outcome.lower() for job, outcome, _, _ in found}
    script = (
        "import json, sys\nfrom cosmic_ray.mutating import mutate_code\n"
        "from cosmic_ray.plugins import get_operator\n"
        "print(json.dumps({j: mutate_code(sys.argv[1], get_operator(o)(), n) "
        "for j, _, o, n in json.load(sys.stdin)}))"
    )
    texts = json.loads(
        subprocess.run(
            [str(home / "bin" / "python"), "-c", script, NORM], input=json.dumps(found),
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    return judged(texts, status, len(status), seconds)


def judged(texts: dict, status: dict, count: int, seconds: float) -> dict:
    """The row of a tool: noise by the check that is the same for all."""
    asked = json.dumps({key: texts[key] for key in status})
    done = subprocess.run(
        [sys.executable, "-c", CHECK, NORM], input=asked, capture_output=True, text=True, check=True
    )
    kinds = json.loads(done.stdout)
    survived = [k for k, s in status.items() if s == "survived"]
    equivalent = sum(kinds[k] == "equivalent" for k in survived)
    stillborn = sum(kinds[k] == "stillborn" for k in status)
    return {
        "mutants": count,
        "seconds": seconds,
        "rate": count / seconds,
        "counted": len(status),
        "survived": len(survived),
        "equivalent": equivalent,
        "stillborn": stillborn,
        "noise": (equivalent + stillborn) / len(status) if status else float("nan"),
    }


def timed(command: list[str], project: Path, limit: float) -> float:
    """Wall seconds of a command, at most `limit`: then it is stopped, with all that it started."""
    started = time.perf_counter()
    with open(project / "log.txt", "w") as log:
        process = subprocess.Popen(
            command, cwd=project, stdout=log, stderr=log, start_new_session=True
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return time.perf_counter() - started


def laid_out(folder: Path) -> Path:
    project = folder / "project"
    (project / "tests").mkdir(parents=True)
    (project / "norm.py").write_text(NORM)
    (project / "tests" / "test_norm.py").write_text(TESTS)
    (project / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return project


def installed(name: str, cache: Path) -> Path | None:
    """The tool's venv, made if need be; None, with a message, where that fails."""
    home = cache / name
    if (home / "done").exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    try:
        venv.create(home, with_pip=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", PACKAGES[name]]
        subprocess.run(pip, check=True, timeout=300, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{name} left out: it cannot be installed ({type(error).__name__})")
        return None
    (site,) = home.glob("lib/python*/site-packages")
    (site / "host.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (home / "done").write_text("")
    return home


def show(name: str, row: dict) -> None:
    print(
        f"{name:<11}{row['mutants']:>4} mutants in {row['seconds']:6.1f} s  {row['rate']:6.2f}/s   "
        f"counted {row['counted']:>3}, survived {row['survived']:>3}: "
        f"{row['equivalent']} equivalent; {row['stillborn']} stillborn; noise {row['noise']:.1%}",
        flush=True,
    )


def verdict(rows: dict) -> None:
    others = sorted((row["rate"], name) for name, row in rows.items() if name != "bugzoo")
    for rate, name in others:
        print(f"bugzoo is {rows['bugzoo']['rate'] / rate:.1f} times as fast as {name}")


if __name__ == "__main__":
    main()
