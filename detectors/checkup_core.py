"""The core of the checkup: the inputs as given, in at most 12 passes where nothing is suspicious.

One directional derivative of two steps, the first call repeated from the same seed and from another,
inputs and cotangent unchanged. No input is derived.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._checkup import THRESHOLDS, judged


@detector(
    claims=("value", "side_effect"),
    cost="10 F + 2 B, whatever the size",
    blind_to="all that only other inputs, layouts, cotangents or a second use show",
    thresholds=THRESHOLDS,
)
def checkup_core(subject: Subject, gen: Generator) -> Verdict:
    return judged(subject, gen, budget=0)
