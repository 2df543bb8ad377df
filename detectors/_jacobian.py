"""Runs torch's own gradcheck and turns what it raises into a verdict with numbers."""

import re
import warnings
from collections.abc import Callable
from math import inf, isnan

from torch.autograd.gradcheck import GradcheckError

from bugzoo import Verdict

EPS = 1e-6
ATOL = 1e-4
RTOL = 1e-3
THRESHOLDS = {
    "eps = 1e-6": "torch.autograd.gradcheck",
    "atol = 1e-4": "common practice; torch's own default is 1e-5",
    "rtol = 1e-3": "torch.autograd.gradcheck",
}
NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)"


def judged(check: Callable[[], object], atol: float = ATOL) -> Verdict:
    """Clear where `check` returns, alarm where it raises a GradcheckError; anything else goes on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check()
    except GradcheckError as error:
        return _alarm(str(error))
    return Verdict("clear", 0.0, f"all Jacobian entries within {atol:g} + {RTOL:g} |numerical|")


def _alarm(message: str) -> Verdict:
    """The worst of the entries that the message prints; torch elides the middle of large matrices."""
    pair = re.search(r"numerical:(.*?)\nanalytical:(.*?)\n(?:\n|$|The above)", message, re.S)
    place = re.search(r"for output (\d+) with respect to input (\d+)", message)
    where = f"dy{place[1]}/dx{place[2]}" if place else ""
    slow = re.search(rf"max per-element difference \(slow mode\) is: ({NUMBER})", message)
    first = message.strip().partition("\n")[0].rstrip(",")
    if not pair:
        return Verdict("alarm", inf, first, where)
    numerical, analytical = (
        [float(n) for n in re.findall(NUMBER, side.partition("dtype")[0].replace("tensor", ""))]
        for side in pair.groups()
    )
    gaps = [abs(a - b) for a, b in zip(numerical, analytical, strict=False)]
    gaps = [inf if isnan(gap) else gap for gap in gaps]
    score = float(slow[1]) if slow else max(gaps, default=inf)
    score = inf if isnan(score) else score
    if not gaps:
        return Verdict("alarm", score, first, where)
    worst = max(range(len(gaps)), key=gaps.__getitem__)
    because = f"backward {analytical[worst]:.6g}, expected {numerical[worst]:.6g}; gap {score:.3g}"
    return Verdict("alarm", score, because, where)
