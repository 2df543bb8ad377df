"""It trains: the loss at the end of a short run is below the loss at its start.

mean of the last quarter < mean of the first quarter
"""

import math
from statistics import fmean

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject

STEPS = 40


@detector(
    needs="training",
    claims=("trajectory", "value"),
    cost="40 steps",
    blind_to="every gradient that still points downhill: most wrong ones do; leaks",
    thresholds={
        "ratio = 1": "the weakest reading of 'the loss goes down'",
        "steps = 40": "a smoke test",
    },
)
def loss_falls(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    losses = [run.advance() for _ in range(STEPS)]
    first, last = fmean(losses[: STEPS // 4]), fmean(losses[-STEPS // 4 :])
    because = f"loss {last:.4g} at the end, expected below {first:.4g}, that of the start"
    if not math.isfinite(last):
        return Verdict("alarm", math.inf, because)
    score = last / first if first > 0 else float(last >= first)
    return Verdict("clear" if last < first else "alarm", score, because)
