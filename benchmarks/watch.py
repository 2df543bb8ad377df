"""What watching costs: the time of a training step, as a ratio to the bare loop in the same run.

    python benchmarks/watch.py                                 about nine minutes on one thread
    python benchmarks/watch.py --steps 20 --rounds 1           a first look
    python benchmarks/watch.py --device cuda                   the same on a GPU
    bugzoo peers install cockpit traincheck                    adds their rows

An MLP of 10 million parameters: SGD with batches of 64, where a step is short, and Adam with 256. Before
each block of steps of a row a block of the bare loop is run; a row's ratio is the median over rounds of
(median step of its block / median step of that one), the first steps left out, which `watch` looks at
closely; `mean` counts them. CPU time on one thread, so that other processes do not count. glibc is told
to keep what is freed: else it is chance whether the gradients' pages go back to the kernel, and a bare
step takes 60 ms or 80. Cockpit and TrainCheck run in processes of their own against a bare loop
there, SGD with batches of 64.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import mean, median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # else this file would hide other modules

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (1024, 2048, 2048, 1792, 64)
WARM = 8  # steps of a block that the median leaves out
KEEP = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000"}


class Run:
    """Model, optimizer, batches; `step()` trains on the next one."""

    def __init__(self, rule: str, rows: int, device: str):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for pair in zip(WIDTHS, WIDTHS[1:]):
            layers += [nn.Linear(*pair), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1]).to(device)
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[rule]
        self.optimizer = kind(self.model.parameters(), lr=1e-3)
        self.x = torch.randn(rows, WIDTHS[0], device=device)
        self.y = torch.randint(WIDTHS[-1], (rows,), device=device)
        self.device = device

    def step(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.x), self.y).backward()
        self.optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize()


def clock(device: str) -> float:
    """CPU time of this process where that is all there is: other processes do not count."""
    return time.process_time() if device == "cpu" else time.perf_counter()


@contextmanager
def norm_hooks(run: Run) -> Any:
    """The usual monitor: the norm of each gradient as a number, from a hook on each parameter."""
    norms: dict[str, float] = {}
    handles = [
        p.register_hook(lambda g, name=name: norms.__setitem__(name, g.norm().item()))
        for name, p in run.model.named_parameters()
    ]
    yield
    for handle in handles:
        handle.remove()


def watching(every: int) -> Callable[[Run], Any]:
    import bugzoo

    return lambda run: bugzoo.watch(run.model, run.optimizer, every=every)


def rows_of_the_table() -> dict[str, Callable[[Run], Any]]:
    return {
        "bare loop": lambda run: nullcontext(),
        "watch": watching(1),
        "watch, every=10": watching(10),
        "norms in hooks": norm_hooks,
        "anomaly mode": lambda run: torch.autograd.detect_anomaly(),
    }


def block(run: Run, context: Callable[[Run], Any], steps: int) -> list[float]:
    """Seconds of each step inside the context."""
    spent = []
    with context(run):
        for _ in range(steps):
            start = clock(run.device)
            run.step()
            spent.append(clock(run.device) - start)
    return spent


def measured(run: Run, steps: int, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Row -> (milliseconds of the median step, median ratio, ratio of the means)."""
    table = rows_of_the_table()
    bare = table.pop("bare loop")
    block(run, bare, 2 * WARM)
    found = {}
    for name, context in table.items():
        pairs = [(block(run, bare, steps), block(run, context, steps)) for _ in range(rounds)]
        ratios = [median(b[WARM:]) / median(a[WARM:]) for a, b in pairs]
        means = [mean(b) / mean(a) for a, b in pairs]
        ms = 1e3 * median(median(b[WARM:]) for _, b in pairs)
        found[name] = (ms, median(ratios), median(means))
    return found


COCKPIT = """
import json, sys, time
from statistics import median
import torch
from torch import nn
from backpack import extend
from cockpit import Cockpit
from cockpit.utils.configuration import configuration
widths, rows, steps = json.loads(sys.argv[1])
torch.set_num_threads(1); torch.manual_seed(0)
layers = []
for pair in zip(widths, widths[1:]):
    layers += [nn.Linear(*pair), nn.ReLU()]
model = extend(nn.Sequential(*layers[:-1]))
loss_of, each_of = extend(nn.CrossEntropyLoss()), extend(nn.CrossEntropyLoss(reduction="none"))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
cockpit = Cockpit(model.parameters(), quantities=configuration("economy"))
x, y = torch.randn(rows, widths[0]), torch.randint(widths[-1], (rows,))
def step(n, watched):
    start = time.process_time()
    optimizer.zero_grad()
    out = model(x)
    loss = loss_of(out, y)
    if watched:
        info = {"batch_size": rows, "individual_losses": each_of(out, y), "loss": loss, "optimizer": optimizer}
        with cockpit(n, info=info):
            loss.backward(create_graph=cockpit.create_graph(n))
    else:
        loss.backward()
    optimizer.step()
    return time.process_time() - start
pairs = [(step(n, False), step(n, True)) for n in range(steps)][5:]
print(json.dumps(median(w / b for b, w in pairs)))
"""

SCRIPT = """
import torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
widths, rows, steps = {given}
layers = []
for pair in zip(widths, widths[1:]):
    layers += [nn.Linear(*pair), nn.ReLU()]
model = nn.Sequential(*layers[:-1])
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
x, y = torch.randn(rows, widths[0]), torch.randint(widths[-1], (rows,))
for _ in range(steps):
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
"""


def cockpit(folder: Path, rows: int, steps: int) -> float:
    """A step with Cockpit's economy configuration over the bare one before it, median."""
    done = started([sys.executable, "-c", COCKPIT, json.dumps([WIDTHS, rows, steps])], folder)
    return float(done.strip().splitlines()[-1])


def traincheck(folder: Path, rows: int, steps: int) -> float:
    """The whole script under `traincheck-collect` over the script alone: it has no loop of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        for package in folder.iterdir():  # it looks beside the script, and nowhere else
            (Path(scratch) / package.name).symlink_to(package)
        script = Path(scratch) / "train.py"
        script.write_text(SCRIPT.format(given=repr((WIDTHS, rows, steps))))
        collect = [str(folder / "bin" / "traincheck-collect"), "--pyscript", str(script)]
        spent = []
        for command in (
            [str(script)],
            [*collect, "--models-to-track", "model", "--output-dir", f"{scratch}/trace"],
        ):
            start = time.perf_counter()
            started([sys.executable, *command], folder)
            spent.append(time.perf_counter() - start)
    return spent[1] / spent[0]


def started(command: list[str], folder: Path) -> str:
    """What a command prints that finds the packages in this folder first."""
    known = os.environ | {"PYTHONPATH": str(folder)}
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=scratch, env=known
        )
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
    return done.stdout


def peers(options: argparse.Namespace) -> None:
    """Rows of tools of other projects, from the folders that `bugzoo peers install` builds."""
    from bugzoo.peers import absence, folder
    from detectors.peers.left_out import COCKPIT as GAUGES
    from detectors.peers.left_out import TRAINCHECK

    for name, call, peer in (
        ("Cockpit, economy", cockpit, GAUGES),
        ("TrainCheck, collect", traincheck, TRAINCHECK),
    ):
        if why := absence(peer):
            print(f"{name:22}  {why}")
            continue
        try:
            print(f"{name:22}{'':>10}{call(folder(peer), 64, options.steps):>10.3f}", flush=True)
        except (RuntimeError, OSError) as error:
            print(f"{name:22}  fails: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=15, help="steps of a block")
    parser.add_argument("--rounds", type=int, default=11, help="blocks of each row")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--setting",
        action="append",
        metavar="RULE:ROWS",
        help="sgd:64 and adam:256 if none is named",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    for given in options.setting or ["sgd:64", "adam:256"]:
        rule, _, rows = given.partition(":")
        run = Run(rule, int(rows), options.device)
        count = sum(p.numel() for p in run.model.parameters())
        print(f"{rule}, {rows} rows, {count:,} parameters, {options.device}")
        print(f"{'':22}{'ms':>10}{'ratio':>10}{'mean':>10}")
        for name, (ms, ratio, means) in measured(run, options.steps, options.rounds).items():
            print(f"{name:22}{ms:>10.1f}{ratio:>10.3f}{means:>10.3f}", flush=True)
    print("sgd, 64 rows, tools in a process of their own")
    peers(options)


if __name__ == "__main__":
    if KEEP.keys() - os.environ.keys():  # read once, when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP)
    main()
