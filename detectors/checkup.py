"""The checkup: difference quotients that know their own error, on inputs derived from the given ones.

Sizes, zeros, ties, layouts, repeated indices and aliases are derived; cotangents of every layout,
a second backward, edits and other calls in between are tried. See bugzoo.checkup.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._checkup import THRESHOLDS, judged


@detector(
    claims=("value", "side_effect", "reentrancy", "memory", "contract"),
    cost="about 300 F + 50 B, most of them on small inputs, whatever the size",
    blind_to="conventions at kinks and ties; the second derivative; inputs that cannot be derived "
    "from the given ones; errors below the noise of the forward",
    thresholds={
        **THRESHOLDS,
        "eps ** 0.4": "where the backward is compared with itself: far above rounding, defects are gross",
    },
)
def checkup(subject: Subject, gen: Generator) -> Verdict:
    return judged(subject, gen)
