"""Does every parameter get a gradient? None or all zeros whenever its optimizer steps is an alarm.

torchtest and torcheck ask it after one step; here a parameter has the whole run to get one.
"""

import math
from typing import Any

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, owned, parameters


@detector(
    needs="training",
    claims=("trajectory", "value", "contract"),
    cost="24 steps; one maximum for each parameter and step",
    blind_to="every gradient that is wrong but not zero; leaks. A parameter unused by design alarms",
    thresholds={"largest |g| = 0": "exact", "steps = 24": "the length of the benchmark's runs"},
)
def missing_gradient(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    known = parameters(run)
    largest = dict.fromkeys(known, 0.0)
    last: dict[int, str] = {}
    held = {id(p) for o in run.optimizers for p in owned(o)}

    def look(optimizer: Any, *_: Any) -> None:
        mine = {id(p) for p in owned(optimizer)}
        for key, (_name, p) in known.items():
            if key in mine or key not in held:  # what no optimizer has is read at every step
                size = 0.0 if p.grad is None else p.grad.detach().abs().max().item()
                last[key] = "None" if p.grad is None else f"{size:g}"
                largest[key] = max(largest[key], math.inf if math.isnan(size) else size)

    with hooked([o.register_step_pre_hook(look) for o in run.optimizers]):
        for _ in range(STEPS):
            run.advance()
    if not last:
        return Verdict("abstain", because="no optimizer made a step")
    without = [key for key in last if not largest[key]]
    because = (
        f"{len(without)} of {len(last)} parameters without a gradient in {STEPS} steps, expected 0"
    )
    if not without:
        return Verdict("clear", 0.0, because)
    because += f"; the last one was {last[without[0]]}"
    return Verdict("alarm", len(without), because, known[without[0]][0])
