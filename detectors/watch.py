"""`bugzoo.watch` on a short run: a ledger of gradients, sampled rules, seals and tokens; see bugzoo.watcher.

Each backward's contribution is to be spent exactly once, by whom it was meant for. What may be intent is
a note and no alarm.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from bugzoo.watcher.watch import watch as watching

STEPS = 24


@detector(
    needs="training",
    claims=("trajectory", "memory", "side_effect"),
    cost="24 steps, each of which takes at most a few percent longer where the model is large",
    blind_to="every wrong formula whose gradient arrives, is spent once and is finite; what only the "
    "author's intent tells: divisors, detached heads, the scale of a loss",
    thresholds={
        "1 step for each contribution": "exact",
        "4 graphs kept, 0 freed": "exact: a token lives as long as its node",
        "1e-3 of the update": "rounding of the optimizer's rule, recomputed in float64",
        "1e6 times the run's own median": "far outside of any run that goes on",
        "steps = 24": "the length of the benchmark's runs",
    },
)
def watch(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    with watching(run.models, run.optimizers) as log:
        for _ in range(STEPS):
            run.advance()
    if not log.ok:
        first = log.findings[0]
        because = f"{first.what} (step {first.step or 1} and {first.times - 1} more): {first.cause}"
        return Verdict("alarm", float(len(log.findings)), because, first.where)
    if not log.steps:  # nobody steps, or not in a way that shows
        return Verdict("abstain", because="0 optimizer steps were seen")
    return Verdict("clear", 0.0, f"no defect in {log.steps} steps, {len(log.notes)} notes")
