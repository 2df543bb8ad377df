"""Rates from counts. NaN where there is nothing to divide by.

tp, fn: bugs caught and missed;  fp, tn: healthy specimens alarmed and passed
"""

from math import nan, sqrt
from statistics import NormalDist

Z95 = NormalDist().inv_cdf(0.975)


def share(k: float, n: float) -> float:
    return k / n if n else nan


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Score interval of k successes in n: the p with |k/n - p| <= z sqrt(p (1 - p) / n).

    Wilson, Journal of the American Statistical Association 22, 1927.
    """
    if not n:
        return nan, nan
    p, spread = k / n, z * z / n
    centre = p + spread / 2
    half = z * sqrt(p * (1 - p) / n + spread / (4 * n))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return (0.0 if k == 0 else low), (1.0 if k == n else high)


def youden(tp: int, fn: int, fp: int, tn: int) -> float:
    """Recall + specificity - 1: does not depend on how many bugs stand beside how many healthy."""
    return share(tp, tp + fn) + share(tn, fp + tn) - 1


def mcc(tp: int, fn: int, fp: int, tn: int) -> float:
    """Matthews correlation; 0 for a detector that gives every specimen the same answer."""
    if not (tp + fn and fp + tn):
        return nan
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / sqrt(product) if product else 0.0
