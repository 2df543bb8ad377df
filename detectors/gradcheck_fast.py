"""One fixed projection of the Jacobian: torch.autograd.gradcheck with fast_mode=True.

    v' (J u)  by central differences  ==  (v' J) u  by backward          u: inputs, v: outputs

u and v are non-negative and the same at every call, and the tolerance grows with their sums.
"""

from torch import Generator
from torch.autograd import gradcheck as check

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, outputs
from detectors._difference import point
from detectors._jacobian import ATOL, EPS, RTOL, THRESHOLDS, judged


@detector(
    claims=("value", "reentrancy", "contract"),
    cost="about 15 (F + B), whatever the size; on an alarm the full check runs as well",
    blind_to="what gradcheck is blind to, except that g is dense here; single wrong entries of a "
    "large Jacobian (the tolerance grows like n m); errors of both signs that cancel; repeating "
    "it adds nothing",
    thresholds=THRESHOLDS,
)
def gradcheck_fast(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)

    def op(*inputs):
        return outputs(subject.op(*inputs))

    return judged(lambda: check(op, at.inputs, eps=EPS, atol=ATOL, rtol=RTOL, fast_mode=True))
