"""How many mutants a second of processor time the oracle classifies, by correct implementation.

    python benchmarks/classify.py            operations and one loop of several sizes
    python benchmarks/classify.py relu/relu  only these

A row: mutants, mutants/s, and the same in units of one examination of the right implementation.
"""

import sys
import time
import warnings
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # else this file would hide the package `detectors`

import torch

from bugzoo import catalog
from bugzoo.mutation.bench import Bench
from bugzoo.mutation.breed import mutants
from bugzoo.mutation.classify import classify

NAMES = (
    "relu/relu", "sigmoid/sigmoid", "softmax/softmax", "linear/linear", "layer_norm/layer_norm",
    "embedding/embedding", "cross_entropy/cross_entropy", "attention/attention",
    "plain_step/plain_step",
)  # fmt: skip


def main(names: list[str]) -> None:
    """The table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    zoo = catalog.load()
    print(f"{'implementation':32}{'mutants':>8}{'mutants/s':>11}{'right ones':>12}")
    for name in names or NAMES:
        bench = Bench(zoo.specimens[name])
        right = timed([bench.text] * 3, bench) / 3
        made = [m.text for m in mutants(bench.text)]
        seconds = timed(made, bench)
        rate = len(made) / seconds
        print(f"{name:32}{len(made):8}{rate:11.1f}{seconds / len(made) / right:12.2f}", flush=True)


def timed(texts: list[str], bench: Bench) -> float:
    start = time.process_time()
    for text in texts:
        classify(text, bench)
    return time.process_time() - start


if __name__ == "__main__":
    main(sys.argv[1:])
