"""numdifftools' Gradient, Richardson's extrapolation of central differences, beside the backward.

    |dx - numeric| <= 1e-8 + 1e-5 |numeric|         of <op(x), g>, element by element

It gives no verdict of its own; its documentation compares with numpy.allclose and its defaults.
"""

import numpy as np
import torch
from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject, fresh, outputs
from detectors._difference import delivered, normal_like, point
from detectors.peers._driving import untouched

PEER = Peer(
    "numdifftools",
    "0.11.2",
    "Adaptive numerical differentiation with Richardson extrapolation.",
    packages=("numdifftools==0.11.2",),
    imports=("numdifftools",),
)


@detector(
    cost="about 30 n F + 1 B",
    blind_to="errors below 1e-5; special cotangents; dtypes below float64; side effects; leaks",
    thresholds={"rtol = 1e-5": "numpy.allclose", "atol = 1e-8": "numpy.allclose"},
    peer=PEER,
)
def numdifftools(subject: Subject, gen: Generator) -> Verdict:
    import numdifftools as tool

    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    g = normal_like(at.y, gen)

    def loss(x: np.ndarray) -> float:
        inputs, values = fresh(at.inputs), torch.from_numpy(np.array(x, dtype=np.float64))
        for leaf in (t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad):
            part, values = values[: leaf.numel()], values[leaf.numel() :]
            leaf.data.copy_(part.view(leaf.shape))
        return sum(
            ((b.detach() * c).sum().item() for b, c in zip(outputs(subject.op(*inputs)), g)), 0.0
        )

    got = torch.cat([d.detach().reshape(-1) for d in delivered(subject, at, g)]).numpy()
    start = torch.cat([x.detach().reshape(-1) for x in at.wrt]).numpy()
    with untouched(gen), np.errstate(all="ignore"):
        numeric = np.ravel(tool.Gradient(loss)(start))
    known = np.isfinite(numeric)
    if not known.any():
        return Verdict("abstain", because="no element has a finite difference")
    excess = np.abs(got - numeric) / (1e-8 + 1e-5 * np.abs(numeric))
    excess = np.where(np.isfinite(got), excess, np.inf)[known]
    worst = int(np.argmax(excess))
    because = f"backward {got[known][worst]:.9g}, expected {numeric[known][worst]:.9g}"
    return Verdict("alarm" if excess[worst] > 1 else "clear", float(excess[worst]), because)
