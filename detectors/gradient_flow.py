"""Gradient norm of every layer as the optimizer gets it, over a short run: does it flow to the input?

    VANISHING where ||g|| < 1e-6, EXPLODING where ||g|| > 10; ||g|| / ||w|| is reported beside it

Of each layer the median over the steps counts: one odd batch is not a habit.
"""

import math
from collections import defaultdict
from statistics import median
from typing import Any

from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, owned, parameters

VANISHING, EXPLODING = 1e-6, 10.0


@detector(
    needs="training",
    claims=("trajectory", "value"),
    cost="24 steps; one norm for each parameter and step",
    blind_to="every wrong gradient of a healthy size, which is nearly all of them; single steps; "
    "parameters that no optimizer has; leaks. A layer unused by design alarms",
    thresholds={
        "VANISHING = 1e-6": "common practice of gradient-norm monitors",
        "EXPLODING = 10": "common practice of gradient-norm monitors",
        "steps = 24": "the length of the benchmark's runs",
    },
)
def gradient_flow(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    known = parameters(run)
    norms: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def look(optimizer: Any, *_: Any) -> None:
        layers: dict[str, list[Tensor]] = defaultdict(list)
        for p in owned(optimizer):
            if id(p) in known:
                layers[known[id(p)][0].rpartition(".")[0]].append(p)
        for layer, parts in layers.items():
            norms[layer].append((_norm([p.grad for p in parts]), _norm(parts)))

    with hooked([o.register_step_pre_hook(look) for o in run.optimizers]):
        for _ in range(STEPS):
            run.advance()
    if not norms:
        return Verdict("abstain", because="no optimizer updates a parameter of the model")
    worst = Verdict("clear", -math.inf)
    for layer, seen in norms.items():
        size = median(g for g, _ in seen)
        ratio = median(g / w if w else math.inf for g, w in seen)
        state = "EXPLODING" if size > EXPLODING else "VANISHING" if size < VANISHING else "healthy"
        score = max(size / EXPLODING, VANISHING / size if size else math.inf)
        if score > worst.score:
            because = f"{state}: ||g|| {size:.3g}, expected {VANISHING:g}..{EXPLODING:g}; "
            because += f"||g||/||w|| {ratio:.3g}"
            worst = Verdict("clear" if state == "healthy" else "alarm", score, because, layer)
    return worst


def _norm(those: list[Any]) -> float:
    """Of all tensors together; None counts as zeros, NaN as infinite."""
    norm = math.sqrt(sum(t.detach().double().square().sum().item() for t in those if t is not None))
    return math.inf if math.isnan(norm) else norm
