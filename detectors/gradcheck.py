"""Every entry of the Jacobian, by central differences and by backward: torch.autograd.gradcheck.

    |J_numerical - J_backward| <= atol + rtol |J_numerical|          J: (outputs, inputs)

A row of J comes from a one-hot cotangent. It also runs backward twice and with zero cotangents.
"""

from torch import Generator
from torch.autograd import gradcheck as check

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, outputs
from detectors._difference import point
from detectors._jacobian import ATOL, EPS, RTOL, THRESHOLDS, judged


@detector(
    claims=("value", "reentrancy", "contract"),
    cost="2 n F + 2 m B: every input and every output element",
    blind_to="what depends on the sign, size or layout of g (its cotangents are one-hot); errors "
    "below atol; dtypes below float64; an output that is detached beside one that is not; "
    "writing into inputs, cotangent or saved tensors; leaks",
    thresholds=THRESHOLDS,
)
def gradcheck(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)

    def op(*inputs):
        return outputs(subject.op(*inputs))

    return judged(lambda: check(op, at.inputs, eps=EPS, atol=ATOL, rtol=RTOL))
