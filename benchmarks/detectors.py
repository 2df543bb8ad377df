"""What each operation detector costs, as a multiple of one forward + backward of the same operation.

    python benchmarks/detectors.py              layer norm, n = 16, 256, 4096 inputs and outputs
    python benchmarks/detectors.py 16 256       only these, in seconds instead of a minute

CPU time on one thread, medians of up to 9 runs; what takes longer than a second is run once.
"""

import sys
import time
from collections.abc import Callable
from math import isqrt
from pathlib import Path
from statistics import median

sys.path[0] = str(Path(__file__).parents[1])  # else this file would hide the package `detectors`

import torch
from torch import Generator
from torch.nn import functional as F

from bugzoo import catalog
from bugzoo.subject import Subject

RUNS, ENOUGH = 9, 1.0


def layer_norm(n: int) -> Subject:
    """Layer norm of a square input with n elements, in float64; promised to be twice differentiable."""
    side = isqrt(n)

    def op(x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (side,))

    def draw(gen: Generator) -> tuple[torch.Tensor, ...]:
        return (torch.randn(side, side, generator=gen, dtype=torch.float64).requires_grad_(),)

    return Subject(op=op, draw=draw, reference=op, twice=True)


def seconds(call: Callable[[], object], runs: int = RUNS) -> float:
    """Median CPU seconds of `call`; fewer runs where one is slow."""
    spent: list[float] = []
    while len(spent) < runs and sum(spent) < ENOUGH:
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return median(spent)


def ratios(n: int) -> tuple[float, dict[str, float]]:
    """Seconds of one forward + backward, and the cost of every operation detector in units of it."""
    subject = layer_norm(n)
    (x,) = subject.inputs(Generator().manual_seed(0))
    g = torch.ones_like(x)
    unit = seconds(lambda: [subject.vjp((x,), g) for _ in range(100)]) / 100
    found = {}
    for name, detector in sorted(catalog.load().detectors.items()):
        if set(detector.needs) <= subject.offers:
            if n == SIZES[0]:
                detector(subject, Generator().manual_seed(0))  # imports that happen once
            cost = seconds(lambda d=detector: d(subject, Generator().manual_seed(0)))  # type: ignore[misc]
            found[name] = cost / unit
    return unit, found


def main() -> None:
    torch.set_num_threads(1)
    table = {n: ratios(n) for n in SIZES}
    print(f"{'n = m':22}" + "".join(f"{n:>10}" for n in SIZES))
    print(
        f"{'forward + backward':22}" + "".join(f"{1e6 * u:>8.0f} us" for u, _ in table.values())[1:]
    )
    detectors = catalog.load().detectors
    for name in table[SIZES[0]][1]:
        row = "".join(f"{found[name]:>10.3g}" for _, found in table.values())
        print(f"{name:22}{row}   {detectors[name].cost}")


SIZES = [int(a) for a in sys.argv[1:]] or [16, 256, 4096]

if __name__ == "__main__":
    main()
