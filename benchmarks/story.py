"""The production story: a colleague's attention whose loss falls first and goes wrong later.

    python benchmarks/story.py            losses and gradient norms of four runs, 1,500 steps each

Attention sits in a network on the digits; SGD with momentum, the same seed for every run. Printed:
the mean loss of 50 steps, every 150 steps, and the largest against the smallest weight gradient.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # else benchmarks/detectors.py would hide a package

import torch
from torch import Generator

from bugzoo import catalog
from bugzoo.model import TRAINED
from bugzoo.subject import subject

RUNS = ["attention", "scale_dropped", "query_and_key_swapped", "dropped_row_term"]


def history(name: str, steps: int = 1500, seed: int = 0) -> tuple[list[float], float, float]:
    """Losses of a run of attention/`name`; the largest and smallest gradient norm of a weight, last."""
    specimen = catalog.load().specimens[f"attention/{name}"]
    run = subject(specimen, TRAINED).start(Generator().manual_seed(seed))
    losses = [run.advance() for _ in range(steps)]
    norms = [p.grad.norm().item() for p in run.models[0].parameters() if p.dim() > 1]
    return losses, max(norms), min(norms)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':24}{'mean loss of 50 steps, every 150 steps':48}  gradient norms")
    for name in RUNS:
        losses, largest, smallest = history(name)
        means = [sum(losses[i : i + 50]) / 50 for i in range(0, len(losses), 150)]
        shown = " ".join(f"{m:.2f}" for m in means)
        print(f"{name:24}{shown:48}  {largest:.1e} and {smallest:.1e}")


if __name__ == "__main__":
    main()
