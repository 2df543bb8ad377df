"""PyLops' dottest: <Op u, v> == <u, Op' v> for one pair of normal vectors, rtol 1e-6, atol 1e-21.

Op u is the Jacobian by forward-mode AD of the reference, Op' v the backward under test. The alarm is its
AssertionError. `adjoint_dot_test` is the same identity with an allowance for rounding.
"""

import numpy as np
import torch
from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._difference import delivered, point, tangents
from detectors.peers._driving import shown, untouched

PEER = Peer(
    "pylops",
    "2.8.0",
    "Linear operators; its dottest checks an adjoint.",
    packages=("pylops==2.8.0",),
    imports=("pylops", "pylops.utils.dottest"),
)


@detector(
    needs=("operation", "reference"),
    cost="2 F + 1 B, and 1 F of the reference with tangents, whatever the size",
    blind_to="errors below 1e-6; which element is wrong; special cotangents; dtypes below float64; side "
    "effects; leaks. A true value of 0 alarms on rounding alone",
    thresholds={"rtol = 1e-6": "PyLops", "atol = 1e-21": "PyLops"},
    peer=PEER,
)
def pylops_dottest(subject: Subject, gen: Generator) -> Verdict:
    from pylops import LinearOperator
    from pylops.utils.dottest import dottest

    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)

    def parts(vector, like):
        sizes = [t.numel() for t in like]
        cut = torch.from_numpy(np.array(vector)).split(sizes)
        return [c.view(t.shape) for c, t in zip(cut, like)]

    class Jacobian(LinearOperator):
        def __init__(self):
            shape = sum(b.numel() for b in at.y), sum(x.numel() for x in at.wrt)
            super().__init__(dtype=np.dtype("float64"), shape=shape)

        def _matvec(self, u):
            ts = tangents(subject, at, parts(u, at.wrt))
            return torch.cat([t.detach().reshape(-1) for t in ts]).numpy()

        def _rmatvec(self, v):
            ds = delivered(subject, at, parts(v, at.y))
            return torch.cat([d.detach().reshape(-1) for d in ds]).numpy()

    with untouched(gen):
        try:
            dottest(Jacobian())
        except NotImplementedError as missing:
            return Verdict("abstain", because=shown(str(missing)))
        except AssertionError as error:
            return Verdict("alarm", float("inf"), shown(str(error)))
    return Verdict("clear", 0.0, "both sides within 1e-6")
