"""One random direction against one random cotangent, as JAX's check_vjp does.

    <J u, g>  ==  <u, J' g>          left by central differences, right by backward

Both are Gaussian, of both signs, and drawn anew each time, so what one draw misses another finds.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import delivered, normal_like, point, rounding, slope

STEP = 1e-5
TOLERANCE = 1e-6


@detector(
    cost="4 F + 1 B, whatever the size",
    blind_to="errors below 1e-6; an error orthogonal to u or g (probability 0); which element is "
    "wrong; special cotangents; dtypes below float64; side effects; leaks. Kinks alarm",
    thresholds={
        "step = 1e-5": "about the cube root of float64 rounding; Numerical Recipes, 5.7",
        "relative error = 1e-6": "PyLops dottest, rtol",
    },
)
def random_direction(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    u, g = normal_like(at.wrt, gen), normal_like(at.y, gen)
    left = slope(subject, at, u, g, STEP)
    right = sum((a * b).sum().item() for a, b in zip(u, delivered(subject, at, g), strict=True))
    because = f"<J u, g> = {left:.9g}, <u, J' g> = {right:.9g}"
    if left != left:
        return Verdict("abstain", because=f"{because}: the forward is not finite nearby")
    gap = max(abs(left - right) - rounding(at, g, STEP), 0.0)
    score = gap / (max(abs(left), abs(right)) or 1.0) if right == right else float("inf")
    return Verdict("clear" if score <= TOLERANCE else "alarm", score, because)
