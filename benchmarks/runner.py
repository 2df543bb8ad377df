"""What the pool costs: its wall time beside that of plain loops without any of its safety.

    python benchmarks/runner.py [--jobs N] [--cells N] [--rounds N]

`one loop` runs the cells in this process; `loops` runs them in N forks that share the work and ask
nobody, the most that N cores can give. Rounds are interleaved and medians reported, as a machine is
seldom quiet; processor time tells what the pool costs when it is not. The aim: wall time of the pool
at most 1.25 of (one loop / workers) on cells of about 5 ms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # else benchmarks/detectors.py would hide a package

import torch

from bugzoo import Verdict, catalog, detector
from bugzoo.trials.cell import Cell, run
from bugzoo.trials.pool import Pool, jobs_from

AIM = 1.25


@detector(cost="a gradcheck", blind_to="much")
def busy(subject, gen):
    """About 5 ms of work."""
    x = subject.inputs(gen)
    return Verdict("clear" if torch.autograd.gradcheck(subject.op, x) else "alarm", 0.0)


@detector(cost="none", blind_to="everything")
def idle(subject, gen):
    """Nothing: what is left is the price of a cell."""
    return Verdict("abstain")


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def processor(pool: Pool) -> float:
    """Seconds of processor time so far, of this process and of the workers."""
    ticks = 0
    for worker in pool._workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def loops(zoo: catalog.Catalog, cells: list[Cell], jobs: int) -> None:
    """Every fork takes each `jobs`-th cell."""
    children = []
    for n in range(jobs):
        pid = os.fork()
        if pid == 0:
            for cell in cells[n::jobs]:
                run(zoo, cell)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", default=None)
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    jobs = jobs_from(asked.jobs)

    torch.set_num_threads(1)
    zoo = catalog.load(detectors=[__file__])
    kinds = {
        name: [Cell(name, "layer_norm/layer_norm", "operation", "rows", n) for n in range(many)]
        for name, many in (("busy", asked.cells), ("idle", 10 * asked.cells))
    }
    run(zoo, kinds["busy"][0])  # what is imported at the first gradcheck
    print(f"{jobs} workers, {asked.rounds} rounds, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with Pool(zoo, jobs=jobs, log=Path(folder) / "log", train=False) as pool:
            list(pool.run(kinds["idle"][:jobs], 60.0))
            print(f"start of the pool to its first answers: {time.perf_counter() - start:.2f} s")
            for name, cells in kinds.items():
                compare(name, cells, zoo, pool, jobs, asked.rounds)
    command = [sys.executable, "-m", "bugzoo.cli", "--help"]
    helps = [
        seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))
        for _ in range(asked.rounds)
    ]
    print(f"\nbugzoo --help: best {1e3 * min(helps):.0f} ms of {asked.rounds}")


def compare(
    name: str, cells: list[Cell], zoo: catalog.Catalog, pool: Pool, jobs: int, rounds: int
) -> None:
    ways: dict[str, Callable[[], object]] = {
        "one loop": lambda: [run(zoo, cell) for cell in cells],
        f"{jobs} loops": lambda: loops(zoo, cells, jobs),
        "pool": lambda: list(pool.run(cells, 60.0)),
    }
    took: dict[str, list[float]] = {way: [] for way in ways}
    spent = []
    for _ in range(rounds):
        for way, action in ways.items():
            before = processor(pool)
            took[way].append(seconds(action))
            if way != f"{jobs} loops":
                spent.append(processor(pool) - before)
    wall = {way: statistics.median(times) for way, times in took.items()}
    print(f"\n{name}: {len(cells)} cells of {1e3 * wall['one loop'] / len(cells):.2f} ms")
    for way, median in wall.items():
        print(f"  {way:<10}{median:8.3f} s{len(cells) / median:9.0f} cells/s")
    share = [p / (one / jobs) for p, one in zip(took["pool"], took["one loop"], strict=True)]
    most = [p / n for p, n in zip(took["pool"], took[f"{jobs} loops"], strict=True)]
    print(f"  pool / (one loop / {jobs}): {statistics.median(share):.2f}, aim {AIM} for busy cells")
    print(f"  pool / {jobs} loops: {statistics.median(most):.2f}")
    extra = [pool - one for one, pool in zip(spent[::2], spent[1::2], strict=True)]
    cost = 1e6 * statistics.median(extra) / len(cells)
    share = [pool / one for one, pool in zip(spent[::2], spent[1::2], strict=True)]
    print(
        f"  processor time: {cost:.0f} us more a cell, {statistics.median(share):.2f} of one loop's"
    )


if __name__ == "__main__":
    main()
