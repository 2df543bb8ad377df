"""NaN or infinity in the loss, in a gradient, in a parameter: the guard of most training scripts."""

import math
from typing import Any

from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, parameters


@detector(
    needs="training",
    claims=("trajectory", "value"),
    cost="24 steps; one pass over gradients and parameters a step",
    blind_to="every finite wrong number; leaks",
    thresholds={"NaN, inf": "exact", "steps = 24": "the length of the benchmark's runs"},
)
def nan_guard(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    known = parameters(run).values()
    found: list[tuple[str, int, int]] = []  # where, elements that are not finite, elements

    def watch(name: str) -> Any:
        def look(p: Tensor) -> None:
            if p.grad is not None:
                count(f"gradient of {name}", p.grad)

        return look

    def count(where: str, t: Tensor) -> None:
        bad = int((~t.detach().isfinite()).sum())
        if bad:
            found.append((where, bad, t.numel()))

    with hooked([p.register_post_accumulate_grad_hook(watch(name)) for name, p in known]):
        for step in range(1, STEPS + 1):
            loss = run.advance()
            for name, p in known:
                count(name, p)
            if not math.isfinite(loss):
                found.append(("loss", 1, 1))
            if found:
                where, bad, size = found[0]
                because = f"{bad} of {size} elements are not finite, expected 0"
                return Verdict("alarm", math.inf, because, f"{where}, step {step}")
    return Verdict("clear", 0.0, f"loss, gradients and parameters finite over {STEPS} steps")
