"""The checkup: difference quotients that know their own error, on inputs derived from the given ones.

Sizes, zeros, ties, layouts, repeated indices and aliases are derived; cotangents of every layout,
a second backward, edits and other calls in between are tried. See bugzoo.checkup.
"""

from torch import Generator

from bugzoo import Verdict, check, detector
from bugzoo.errors import UserError
from bugzoo.subject import Subject


@detector(
    claims=("value", "side_effect", "reentrancy", "memory", "contract"),
    cost="about 300 F + 50 B, most of them on small inputs, whatever the size",
    blind_to="conventions at kinks and ties; the second derivative; inputs that cannot be derived "
    "from the given ones; errors below the noise of the forward",
    thresholds={
        "30 x estimated error": "of two difference quotients with steps 1e-5 and 1e-6, and rounding",
        "eps ** 0.4": "where the backward is compared with itself: far above rounding, defects are gross",
    },
)
def checkup(subject: Subject, gen: Generator) -> Verdict:
    try:
        found = check(subject.op, subject.inputs(gen), declare=subject.declares)
    except UserError as error:
        return Verdict("abstain", because=str(error))
    if found.ok:
        return Verdict("clear", 0.0, f"no defect on {len(found.done)} variations")
    first = found.findings[0]
    numbers = f": {first.yours:.6g}, true {first.true:.6g}" if first.yours and first.true else ""
    because = f"{first.channel}: {first.what}{numbers} ({first.variation})"
    return Verdict("alarm", first.error, because, first.where)
