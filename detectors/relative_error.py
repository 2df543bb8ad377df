"""CS231n's rel_error of every element, with a random cotangent.

    max |dx_backward - dx_numerical| / max(1e-8, |dx_backward| + |dx_numerical|)

The course reads it so: above 1e-2 "probably wrong", above 1e-4 "uncomfortable": there we abstain.
Karpathy, Li & Johnson, CS231n notes, neural-networks-3, 2015.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import delivered, gradient, normal_like, point, widest

STEP = 1e-5
WRONG, UNCOMFORTABLE = 1e-2, 1e-4


@detector(
    cost="2 n F + 2 F + 1 B: two forwards for every input element",
    blind_to="errors below 1e-2 of an element; dtypes below float64; side effects; a second "
    "backward; leaks. Elements that are nearly 0 are judged by their rounding",
    thresholds={
        "step = 1e-5": "CS231n, eval_numerical_gradient_array, h = 1e-5",
        "wrong = 1e-2": "CS231n notes: 'usually means the gradient is probably wrong'",
        "abstain = 1e-4": "CS231n notes: 'should make you feel uncomfortable'",
        "floor = 1e-8": "CS231n, rel_error",
    },
)
def relative_error(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    g = normal_like(at.y, gen)
    numerical = gradient(subject, at, g, STEP)
    gap = widest(
        delivered(subject, at, g),
        numerical,
        lambda a, b: (a - b).abs() / (a.abs() + b.abs()).clamp(min=1e-8),
    )
    if not gap.where:
        return Verdict("abstain", because="the forward is not finite within 1e-5 of the point")
    if WRONG >= gap.score > UNCOMFORTABLE:
        return Verdict("abstain", gap.score, gap.because, gap.where)
    return Verdict("alarm" if gap.score > WRONG else "clear", gap.score, gap.because, gap.where)
