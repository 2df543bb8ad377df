"""The audit: one run observed, then rebuilt and replayed at other parameters, with its own losses.

A ledger of gradients, sealed saved tensors, sentinels in graphs, every custom Function against its
own forward, and the slope of the loop's own loss. See bugzoo.auditor.
"""

import torch
from torch import Generator

import bugzoo
from bugzoo import Verdict, detector
from bugzoo.errors import UserError
from bugzoo.subject import Subject


@detector(
    needs="training",
    claims=("value", "trajectory", "side_effect", "memory", "second_order"),
    cost="about ten short runs: 15 to 25 steps' worth of work",
    blind_to="what depends on intent: a sum not divided by k, a clip of other parameters, a detach; "
    "inputs that the first steps do not meet; errors below the noise of the loss",
    thresholds={
        "30 x estimated error": "of two difference quotients with steps h and h / 2, and rounding",
        "1e-6": "relative, of a gradient in float64: far above rounding",
    },
)
def audit(subject: Subject, gen: Generator) -> Verdict:
    seed = int(torch.randint(2**31, (), generator=gen))

    def make_run():  # type: ignore[no-untyped-def]
        return subject.start(torch.Generator().manual_seed(seed)).advance

    raised: BaseException | None = None
    try:
        found = bugzoo.audit(make_run, seed=seed)
    except UserError as error:
        raised = error.__cause__
        if raised is None:
            return Verdict("abstain", because=str(error))
    if raised is not None:
        raise raised  # the training's own error, outside the handler: without a context
    if found.ok:
        return Verdict("clear", 0.0, f"no defect in {found.steps} steps")
    first = found.findings[0]
    numbers = f": {first.yours:.6g}, true {first.true:.6g}" if first.yours and first.true else ""
    return Verdict(
        "alarm", float(len(found.findings)), f"{first.channel}: {first.what}{numbers}", first.where
    )
