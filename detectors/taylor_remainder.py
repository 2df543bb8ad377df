"""The remainder after the linear term must shrink like the square of the step.

    R(e) = |L(x + e u) - L(x) - e <dx, u>| = O(e^2)          L(x) = <op(x), g>, e = 0.01 / 2^i
    order = log2(R(e) / R(e / 2))                            2 where dx is right, 1 where it is not

Farrell, Ham, Funke & Rognes, 2013; pyadjoint's taylor_test.
"""

import math

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, outputs
from detectors._difference import delivered, moved, normal_like, point, rounding

STEPS = [0.01 / 2**i for i in range(4)]
ORDER = 1.9


@detector(
    cost="6 F + 1 B, whatever the size",
    blind_to="an error that is small beside the curvature: below about 1e-3 it hides in R; which "
    "element is wrong; special cotangents; dtypes below float64; side effects; leaks. Kinks and "
    "curves steep within 0.01 alarm",
    thresholds={
        "step = 0.01 / 2^i, i = 0..3": "pyadjoint, taylor_test",
        "order = 1.9": "pyadjoint's own tests, min(rates) > 1.9",
    },
)
def taylor_remainder(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    u, g = normal_like(at.wrt, gen), normal_like(at.y, gen)
    ends = [outputs(subject.op(*moved(at, u, e))) for e in STEPS]
    slope = sum((a * b).sum().item() for a, b in zip(u, delivered(subject, at, g), strict=True))
    remainders = []
    for e, y in zip(STEPS, ends, strict=True):
        gain = sum(((a.detach() - b) * c).sum().item() for a, b, c in zip(y, at.y, g, strict=True))
        remainders.append(abs(gain - e * slope))
    if math.isnan(slope):
        return Verdict("alarm", math.inf, f"<dx, u> = {slope}, L is finite")
    if not all(map(math.isfinite, remainders)):
        return Verdict("abstain", because="the forward is not finite within 0.01 of the point")
    floor = 10 * rounding(at, g, 1.0)  # below it an order means nothing
    orders = [math.log2(a / b) for a, b in zip(remainders, remainders[1:]) if min(a, b) > floor]
    because = "R = " + ", ".join(f"{r:.3g}" for r in remainders)
    if not orders:
        return Verdict("clear", 0.0, f"{because}: rounding only")
    score = max(2.0 - min(orders), 0.0)
    because += f"; order {min(orders):.3f}, expected 2"
    return Verdict("alarm" if min(orders) < ORDER else "clear", score, because)
