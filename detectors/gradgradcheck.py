"""The derivative of the backward itself: torch.autograd.gradgradcheck.

    d(dx)/dx and d(dx)/dg  by central differences  ==  by a second backward          dx = J' g

Asked only of operations whose author promises a second derivative.
"""

from torch import Generator
from torch.autograd import gradgradcheck as check

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, outputs
from detectors._difference import normal_like, point
from detectors._jacobian import ATOL, EPS, RTOL, THRESHOLDS, judged


@detector(
    claims="second_order",
    cost="2 (n + m) (F + B) + 2 n double backwards",
    blind_to="a wrong first derivative whose own derivative is consistent; errors below atol; "
    "dtypes below float64; side effects; leaks",
    thresholds=THRESHOLDS,
)
def gradgradcheck(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit or not subject.twice:
        return Verdict("abstain", because=at.unfit or "no second derivative is promised")

    def op(*inputs):
        return outputs(subject.op(*inputs))

    # Without cotangents of ours torch would draw them from the global state.
    g = tuple(b.requires_grad_() for b in normal_like(at.y, gen))
    return judged(lambda: check(op, at.inputs, g, eps=EPS, atol=ATOL, rtol=RTOL))
