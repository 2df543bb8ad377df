"""The adjoint identity at one random pair, exact to rounding: PyLops' dottest.

    <J u, g>  ==  <u, J' g>          left by forward-mode AD of the reference, right by backward

J u must not come from the backward under test: the usual jvp by two vjps passes every wrong
backward, as it only asks whether that backward is linear in g.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import delivered, normal_like, point, tangents

TOLERANCE = 1e-6
ROUNDING = 100 * torch.finfo(torch.float64).eps  # of |u| |g|: a true value of 0 is only that exact


@detector(
    needs=("operation", "reference"),
    cost="2 F + 1 B, and 1 F of the reference with tangents, whatever the size",
    blind_to="errors below 1e-6; an error orthogonal to u or g (probability 0); which element is "
    "wrong; special cotangents; dtypes below float64; side effects; leaks",
    thresholds={"relative error = 1e-6": "PyLops dottest, rtol"},
)
def adjoint_dot_test(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    u, g = normal_like(at.wrt, gen), normal_like(at.y, gen)
    try:
        pushed = tangents(subject, at, u)
    except NotImplementedError as missing:
        return Verdict("abstain", because=str(missing).partition(".")[0])
    left = sum((t * b).sum().item() for t, b in zip(pushed, g, strict=True))
    right = sum((a * b).sum().item() for a, b in zip(u, delivered(subject, at, g), strict=True))
    because = f"<J u, g> = {left:.15g}, <u, J' g> = {right:.15g}"
    if left != left:
        return Verdict("abstain", because=f"{because}: the reference has no finite tangent here")
    gap = max(abs(left - right) - ROUNDING * _norm(u) * _norm(g), 0.0)
    score = gap / (max(abs(left), abs(right)) or 1.0) if right == right else float("inf")
    return Verdict("clear" if score <= TOLERANCE else "alarm", score, because)


def _norm(those: Sequence[Tensor]) -> float:
    return sum(t.square().sum().item() for t in those) ** 0.5
