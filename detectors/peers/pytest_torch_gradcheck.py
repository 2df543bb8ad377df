"""pytest-torch's assert_gradcheck, for custom Functions: torch's gradcheck in float64 with its tolerances.

The alarm is any failure of the assertion, also what gradcheck says beside the Jacobian.
"""

from torch import Generator
from torch.autograd.gradcheck import GradcheckError

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import point
from detectors.peers._driving import of_leaves, raised_in, shown, untouched
from detectors.peers._pytest_torch import PEER


@detector(
    claims=("value", "reentrancy", "contract"),
    cost="2 n F + 2 m B: every input and every output element",
    blind_to="what gradcheck is blind to: what depends on the sign, size or layout of g; dtypes below "
    "float64; side effects; leaks",
    thresholds={
        "eps = 1e-6": "pytest-torch",
        "atol = 1e-5": "pytest-torch, tolerances.py",
        "rtol = 1e-3": "pytest-torch, tolerances.py",
    },
    peer=PEER,
)
def pytest_torch_gradcheck(subject: Subject, gen: Generator) -> Verdict:
    from pytest_torch.training import assert_gradcheck

    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    with untouched(gen):
        try:
            assert_gradcheck(of_leaves(subject, at.inputs), at.wrt)
        except Exception as error:
            # Its report of a mismatch may itself fail, on a scalar of a scalar: the test fails as well.
            said = isinstance(error, AssertionError) and raised_in(error, "pytest_torch")
            found = error if said or isinstance(error, GradcheckError) else error.__context__
            if not said and not isinstance(found, GradcheckError):
                raise
            lines = str(found).strip().splitlines()
            because = f"1 assertion failed: {shown(lines[1] if said and lines[1:] else lines[0])}"
            return Verdict("alarm", float("inf"), because)
    return Verdict("clear", 0.0, "the Jacobians agree within 1e-5 + 1e-3 |numerical|")
