"""Every element of the gradient of <op(x), g> by centred differences in NumPy, g random.

    max |dx_backward - dx_numerical| / max(|dx_backward|, |dx_numerical|)          for each input

What a course on neural networks teaches as gradient checking. Ng et al., UFLDL tutorial.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import (
    delivered,
    gradient,
    normal_like,
    point,
    relative_to_largest,
    rounding,
    widest,
)  # fmt: skip

STEP = 1e-5
TOLERANCE = 1e-4


@detector(
    cost="2 n F + 2 F + 1 B: two forwards for every input element",
    blind_to="errors below 1e-4 of the largest element; what needs a special cotangent; dtypes "
    "below float64; side effects; a second backward; leaks. Kinks and steep curves alarm",
    thresholds={
        "step = 1e-5": "UFLDL and CS231n, h = 1e-5",
        "relative error = 1e-4": "CS231n notes: above it 'should make you feel uncomfortable'",
    },
)
def numerical_gradient(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    g = normal_like(at.y, gen)
    numerical = gradient(subject, at, g, STEP)
    error = relative_to_largest(rounding(at, g, STEP))
    gap = widest(delivered(subject, at, g), numerical, error)
    if not gap.where:
        return Verdict("abstain", because="the forward is not finite within 1e-5 of the point")
    return Verdict("alarm" if gap.score > TOLERANCE else "clear", gap.score, gap.because, gap.where)
