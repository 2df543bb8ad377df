"""ChainRulesTestUtils' test_rrule: the pullback of a random cotangent, by five-point differences.

    |dx - fd| <= max(1e-9, 1e-9 max(|dx|, |fd|))        norms over an input; g from -9, -8.99, ..., 9

The step minimises a bound on the error: rounding of the values, and the fifth derivative as a seven-point
rule sees it around the point (FiniteDifferences' central_fdm(5, 1, max_range=1e-2)).
"""

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, outputs
from detectors._difference import Point, delivered, point

TOLERANCE = 1e-9
RANGE = 1e-2  # furthest that the function is evaluated from the point
EPS = float(np.finfo(np.float64).eps)
CONDITION = 10.0  # what is assumed of a derivative that is not known


@detector(
    cost="12 n F + 1 B: every input element",
    blind_to="errors below 1e-9; special cotangents; one wrong entry that the norm hides; dtypes below "
    "float64; side effects; leaks",
    thresholds={
        "rtol = atol = 1e-9": "ChainRulesTestUtils, test_rrule",
        "max_range = 1e-2": "ChainRulesTestUtils, its default fdm",
    },
)
def chainrules_test_rrule(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    g = tuple(
        torch.randint(-900, 901, b.shape, generator=gen).to(torch.float64) / 100 for b in at.y
    )
    worst = Verdict("clear", 0.0, "no element to compare")
    for n, (x, got) in enumerate(zip(at.wrt, delivered(subject, at, g), strict=True)):
        numeric = _gradient(subject, at, x, g)
        sizes = got.norm().item(), numeric.norm().item()
        gap = (got - numeric).norm().item()
        score = gap / max(TOLERANCE, TOLERANCE * max(sizes))
        if not math.isfinite(sizes[1]):
            return Verdict("abstain", because="the forward is not finite around the point")
        if math.isnan(score) or score >= worst.score:
            score = math.inf if math.isnan(score) else score
            because = f"|dx - fd| = {gap:.3g}, |dx| = {sizes[0]:.9g}, |fd| = {sizes[1]:.9g}"
            worst = Verdict("alarm" if score > 1 else "clear", score, because, f"dx{n}")
    return worst


def _gradient(subject: Subject, at: Point, x: Tensor, g: tuple[Tensor, ...]) -> Tensor:
    """d<y, g>/dx element by element; x: one of the leaves, put back after each."""
    found = torch.zeros(x.shape, dtype=torch.float64)
    values = x.detach().numpy()  # shares the leaf's memory
    weighed = [b.numpy() for b in g]

    def loss(i: tuple[int, ...], step: float) -> float:
        old = values[i]
        values[i] = old + step
        ys = [y.detach().numpy() for y in outputs(subject.op(*at.inputs))]
        total = float(sum((y * b).sum() for y, b in zip(ys, weighed, strict=True)))
        values[i] = old
        return total

    for i in np.ndindex(x.shape):
        step = _step(partial(loss, i))
        grid, weights = _rule(5, 1)
        found[i] = sum(w * loss(i, k * step) for k, w in zip(grid, weights) if w) / step
    return found


def _step(loss: Callable[[float], float]) -> float:
    """The step of the five-point rule, adapted to the function along one line."""
    span = _best(7, 5, CONDITION, EPS)
    values = np.array([loss(k * span) for k in _rule(7, 5)[0]])
    fifth = max(abs(values @ _rule(7, 5, shift)[1]) / span**5 for shift in (-1, 0, 1))
    size = np.abs(values).max()
    if not math.isfinite(size) or fifth == 0 or size == 0:
        return _best(5, 1, CONDITION, EPS)
    return _best(5, 1, fifth, float(np.spacing(size)))


def _best(p: int, q: int, derivative: float, rounding: float) -> float:
    """The step that minimises rounding / h**q + derivative h**(p - q), both with the rule's factors."""

    def free(derivative: float, rounding: float) -> float:
        grid, weights = _rule(p, q)
        noise = rounding * np.abs(weights).sum()
        bend = derivative * np.abs(weights * grid**p).sum() / math.factorial(p)
        return float((q / (p - q) * noise / bend) ** (1 / p))

    return min(free(derivative, rounding), RANGE / (p // 2), 1000 * free(CONDITION, EPS))


@cache
def _rule(p: int, q: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points -p/2 .. p/2 and weights of the q-th derivative, at the point `-shift` of them."""
    grid = np.arange(p) - p // 2
    moments = np.zeros(p)
    moments[q] = math.factorial(q)
    return grid.astype(float), np.linalg.solve(np.vander(grid + shift, increasing=True).T, moments)
