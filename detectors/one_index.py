"""One random element of each input after `.sum().backward()`: minitorch's grad_check.

    |dx_backward[i] - dx_numerical[i]| <= 1e-2 + 1e-2 |dx_numerical[i]|          g = 1, i random

Rush, minitorch, 2020.
"""

import math

import torch
from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import Gap, partial, point, summed

STEP = 1e-6
ATOL = RTOL = 1e-2


@detector(
    cost="2 F for each input tensor + 2 F + 1 B, whatever the size",
    blind_to="all elements but one; every error that a cotangent of ones hides; errors below 1e-2",
    thresholds={
        "step = 1e-6": "minitorch, grad_central_difference, epsilon",
        "atol = rtol = 1e-2": "minitorch, grad_check, assert_allclose",
    },
)
def one_index(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    ones = [torch.ones_like(y) for y in at.y]
    worst = Gap(0.0, "no element to compare", "")
    for n, (x, d) in enumerate(zip(at.wrt, summed(subject, at), strict=True)):
        if not x.numel():
            continue
        i = tuple(int(torch.randint(size, (), generator=gen)) for size in x.shape)
        got, expected = d[i].item(), partial(subject, at, x, i, ones, STEP)
        if math.isnan(expected):
            return Verdict("abstain", because="the forward is not finite within 1e-6 of the point")
        score = abs(got - expected) / (ATOL + RTOL * abs(expected))
        score = math.inf if math.isnan(score) else score
        if score > worst.score or not worst.where:
            where = f"dx{n}{list(i) if i else ''}"
            worst = Gap(score, f"backward {got:.6g}, expected {expected:.6g}", where)
    return Verdict("alarm" if worst.score > 1 else "clear", worst.score, worst.because, worst.where)
