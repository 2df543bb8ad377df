"""What a check costs: bugzoo.check beside torch's gradcheck, slow and fast, from 16 to 1,000,000 inputs.

    python benchmarks/checkup.py

Passes are calls of the function plus backwards through it, bytes those of the inputs, seconds are
processor time of this one run. A row of the check also says how many of its passes ran on the size
given; the others run on small inputs derived from it. The core is `budget=0`. Slow gradcheck is left
out where it would need more than 20,000 passes, and for tanh where its Jacobian alone would not fit.
"""

import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # else benchmarks/detectors.py would hide a package

import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

import bugzoo

MOST = 20_000  # passes of slow gradcheck


class Counted:
    """A function, the calls of it, and the backwards that reach it."""

    def __init__(self, fn):
        self.fn, self.passes = fn, 0

    def __call__(self, *inputs):
        self.passes += 1
        y = self.fn(*inputs)
        if y.requires_grad:
            y.register_hook(self.backward)
        return y

    def backward(self, g):
        self.passes += 1


def subjects():
    """(name, function, inputs) of growing size, in float64."""
    gen = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=gen, dtype=torch.float64).requires_grad_()

    for n in (16, 256, 4_096, 65_536, 1_000_000):
        yield f"tanh {n}", torch.tanh, (normal(n),)
    for b, t, d in ((1, 4, 4), (2, 8, 16), (8, 32, 32), (64, 64, 64)):
        inputs = tuple(normal(b, t, d) for _ in range(3))
        yield f"attention {b} x {t} x {d}", F.scaled_dot_product_attention, inputs


def row(name, tool, passes, seconds, inputs, said, given=""):
    size = sum(x.nbytes for x in inputs)
    print(
        f"{name:<24} {tool:<16} {passes!s:>8} {given!s:>6} {seconds:>8} {size:>11,} {said}",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"{'function':<24} {'tool':<16} {'passes':>8} {'given':>6} {'seconds':>8} {'bytes':>11} says"
    )
    for name, fn, inputs in subjects():
        for tool, budget in (("check", None), ("check, core", 0)):
            start = time.process_time()
            found = bugzoo.check(fn, inputs, budget=budget)
            seconds = time.process_time() - start
            row(
                name,
                tool,
                found.cost.forwards + found.cost.backwards,
                f"{seconds:.2f}",
                inputs,
                "ok" if found.ok else "FINDING",
                found.given,
            )
        n = sum(x.numel() for x in inputs)
        outputs = inputs[0].numel()
        for tool, fast in (("gradcheck slow", False), ("gradcheck fast", True)):
            if not fast and (2 * n + 2 * outputs > MOST or n * outputs > 10**8):
                row(name, tool, f"{2 * n + 2 * outputs:,}", "-", inputs, "left out")
                continue
            counted = Counted(fn)
            start = time.process_time()
            try:
                said = "ok" if gradcheck(counted, inputs, fast_mode=fast) else "wrong"
            except Exception as error:
                said = type(error).__name__
            row(
                name,
                tool,
                f"{counted.passes:,}",
                f"{time.process_time() - start:.2f}",
                inputs,
                said,
            )


if __name__ == "__main__":
    main()
