"""The recipe of PyTorch's own operator tests: gradcheck as the OpInfo suite calls it.

gradcheck in fast mode, with batched gradients (the backward under vmap against a loop), gradient dtypes
and undefined gradients; then gradgradcheck likewise, where a second derivative is promised.
"""

from torch import Generator
from torch.autograd import gradcheck, gradgradcheck

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, outputs
from detectors._difference import normal_like, point
from detectors._jacobian import judged
from detectors.peers._driving import untouched

ATOL = 1e-5
OPTIONS = {"fast_mode": True, "check_batched_grad": True, "check_undefined_grad": True}


@detector(
    claims=("value", "second_order", "reentrancy", "contract"),
    cost="about 20 (F + B), as much again for the second derivative; on an alarm the full check as well",
    blind_to="what gradcheck_fast is blind to. A correct backward that vmap cannot run alarms: the suite "
    "exempts such operators by name",
    thresholds={
        "eps = 1e-6": "torch.autograd.gradcheck",
        "atol = 1e-5": "torch.autograd.gradcheck",
        "rtol = 1e-3": "torch.autograd.gradcheck",
        "fast_mode, batched gradients, 1 each": "torch.testing._internal.common_utils.gradcheck",
    },
)
def opinfo_gradients(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)

    def op(*inputs):
        return outputs(subject.op(*inputs))

    with untouched(gen):  # batched gradients draw their cotangents from the global state
        first = judged(lambda: gradcheck(op, at.inputs, check_grad_dtypes=True, **OPTIONS), ATOL)
        if first.outcome == "alarm" or not subject.twice:
            return first
        g = tuple(b.requires_grad_() for b in normal_like(at.y, gen))
        return judged(
            lambda: gradgradcheck(op, at.inputs, g, check_grad_dtypes=True, **OPTIONS), ATOL
        )
