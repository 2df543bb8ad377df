"""One batch, again and again: a network that learns anything learns it by heart.

    loss after 40 steps <= 0.1^(40/200) = 0.63 of the first one

Karpathy, A recipe for training neural networks, 2019: "overfit a single batch".
"""

import math
from itertools import repeat

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject

STEPS = 40
SHARE = 0.1 ** (STEPS / 200)


@detector(
    needs="training",
    claims=("trajectory", "value"),
    cost="40 steps",
    blind_to="every gradient that still points downhill: most wrong ones do; leaks. A small "
    "learning rate and a binding clip alarm",
    thresholds={"share = 0.1 ^ (40/200)": "torchtest2: 10 % in 200 steps, at the same rate"},
)
def overfit_one_batch(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    run.batches = repeat(next(run.batches))
    losses = [run.advance() for _ in range(STEPS)]
    because = f"loss {losses[-1]:.4g}, expected at most {SHARE * losses[0]:.4g}: 0.63 of the first"
    if not math.isfinite(losses[-1]):
        return Verdict("alarm", math.inf, because)
    score = losses[-1] / losses[0] if losses[0] > 0 else 0.0
    return Verdict("clear" if score <= SHARE else "alarm", score, because)
