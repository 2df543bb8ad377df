"""What an audit costs, in units of one training step of the same model, in one run.

    python benchmarks/audit.py

For each size the loop is timed alone (median of 7 steps after 2), then audited 3 times more (median). A step
is forward, backward and Adam on a batch of 128. A step has one forward and one backward; `steps` is CPU
time over the CPU time of a step. Building the model is part of it. The last model is that of
benchmarks/watch.py.
glibc is told to keep what is freed, as there.
"""

import os
import statistics
import sys
import time
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

import bugzoo

MODELS = (*((64, n, n, n, 10) for n in (16, 128, 512, 1024)), (1024, 2048, 2048, 1792, 64))
KEEP = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000"}


def maker(widths):
    def make_run():
        layers = []
        for pair in zip(widths, widths[1:]):
            layers += [nn.Linear(*pair), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)

        def step():
            x, y = torch.randn(128, widths[0]), torch.randint(widths[-1], (128,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        step.parameters = sum(p.numel() for p in model.parameters())
        return step

    return make_run


def spent(run, times, skip=0):
    """Median CPU seconds of a call."""
    found = []
    for n in range(times + skip):
        start = time.process_time()
        run()
        if n >= skip:
            found.append(time.process_time() - start)
    return statistics.median(found)


def main():
    torch.set_num_threads(1)
    bugzoo.audit(maker((4, 4)))  # torch imports much when the first optimizer is made
    print(
        f"{'parameters':>12} {'step, ms':>9} {'audit, s':>9} {'steps':>6} {'forwards':>9} {'backwards':>10}"
    )
    for widths in MODELS:
        make_run = maker(widths)
        step = make_run()
        one = spent(step, 7, skip=2)
        cost = bugzoo.audit(make_run).cost
        whole = spent(partial(bugzoo.audit, make_run), 3)
        print(
            f"{step.parameters:>12,} {1e3 * one:>9.2f} {whole:>9.2f} {whole / one:>6.1f} "
            f"{cost.forwards:>9} {cost.backwards:>10}"
        )


if __name__ == "__main__":
    if KEEP.keys() - os.environ.keys():  # read once, when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP)
    main()
