"""Every element after `.sum().backward()`, the habit of many test files.

    |dx_backward - dx_numerical| <= 1e-4 max(1, |dx_backward|, |dx_numerical|)          g = 1

Where the outputs have a constant sum (softmax, layer norm, batch norm) the true gradient is 0, and
so is that of most wrong backwards.
"""

import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import gradient, point, summed, widest

STEP = 1e-5
TOLERANCE = 1e-4


@detector(
    cost="2 n F + 2 F + 1 B: two forwards for every input element",
    blind_to="every error that a cotangent of ones hides: lost row and batch terms, anything in "
    "an operation whose outputs sum to a constant; a cotangent used in part; errors below 1e-4",
    thresholds={
        "step = 1e-5": "CS231n, eval_numerical_gradient, h = 1e-5",
        "absolute or relative error = 1e-4": "common practice in unit tests",
    },
)
def summed_loss(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    numerical = gradient(subject, at, [torch.ones_like(y) for y in at.y], STEP)
    gap = widest(summed(subject, at), numerical, _error)
    if not gap.where:
        return Verdict("abstain", because="the forward is not finite within 1e-5 of the point")
    return Verdict("alarm" if gap.score > TOLERANCE else "clear", gap.score, gap.because, gap.where)


def _error(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs() / torch.stack([torch.ones_like(a), a.abs(), b.abs()]).amax(0)
