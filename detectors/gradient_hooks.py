"""A hook on every parameter watches its gradient inside the backward: norm, mean and NaN.

NaN or inf;  ||g|| > 100;  mean |g| < 1e-7            in any backward of a short run
"""

import math
from typing import Any

from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, parameters

EXPLODING, VANISHING = 100.0, 1e-7


@detector(
    needs="training",
    claims=("trajectory", "value"),
    cost="24 steps; two norms for each parameter and backward",
    blind_to="every wrong gradient of a healthy size; what happens between backward and step; a "
    "parameter that gets no gradient at all; leaks. A scaled loss "
    "alarms, and a bias in front of a normalisation, whose true gradient is 0",
    thresholds={
        "||g|| = 100": "trainpulse and torchdiag, exploding",
        "mean |g| = 1e-7": "Amazon SageMaker Debugger, VanishingGradient",
        "steps = 24": "the length of the benchmark's runs",
    },
)
def gradient_hooks(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    step, worst = 0, Verdict("clear", -math.inf, "no gradient was seen")

    def watch(name: str) -> Any:
        def look(g: Tensor) -> None:
            nonlocal worst
            norm, mean = g.detach().norm().item(), g.detach().abs().mean().item()
            wild = not math.isfinite(norm)
            score = math.inf if wild or not mean else max(norm / EXPLODING, VANISHING / mean)
            if score > worst.score:
                because = f"||g|| {norm:.3g}, at most {EXPLODING:g}; "
                because += f"mean |g| {mean:.3g}, at least {VANISHING:g}"
                where = f"{name}, step {step}"
                worst = Verdict("alarm" if score > 1 else "clear", score, because, where)

        return look

    with hooked([p.register_hook(watch(name)) for name, p in parameters(run).values()]):
        for step in range(1, STEPS + 1):  # noqa: B007  (read by the hooks)
            run.advance()
    return worst
