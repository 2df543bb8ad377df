"""gradients: central differences for every parameter of a model, relative difference below 1e-7.

    |analytic - numeric| / (|analytic| + |numeric|) <= 1e-7          norms over a parameter

The operation is a model whose parameters are its differentiable inputs; the criterion is <y, g> with a
random g. Step 1e-8 as in its README. The alarm is its printed 'Check Failed'.
"""

import re

import torch
from torch import Generator, nn

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._difference import normal_like, point
from detectors.peers._driving import of_leaves, untouched

PEER = Peer(
    "gradients",
    "0.0.3",
    "Numerical gradient checking of a PyTorch model's parameters.",
    packages=("gradients==0.0.3",),
    imports=("gradients",),
)


class _Model(nn.Module):
    def __init__(self, f, leaves):
        super().__init__()
        self.f, self.strides = f, [x.stride() for x in leaves]
        for n, x in enumerate(leaves):
            self.register_parameter(f"x{n}", nn.Parameter(x.detach().clone().contiguous()))

    def forward(self, _):
        # Parameters are contiguous, else the tool leaves one perturbed; the operation sees its layout.
        pairs = zip(self.parameters(), self.strides, strict=True)
        return self.f(*(torch.empty_strided(p.shape, s, dtype=p.dtype).copy_(p) for p, s in pairs))


@detector(
    cost="2 n F + 1 B",
    blind_to="special cotangents; one wrong entry that the norm hides; side effects; leaks",
    thresholds={"relative difference = 1e-7": "gradients, fixed", "eps = 1e-8": "its README"},
    peer=PEER,
)
def gradients(subject: Subject, gen: Generator) -> Verdict:
    from gradients import Gradient

    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    g = normal_like(at.y, gen)

    def criterion(y, _):
        return sum(((b * c).sum() for b, c in zip(y, g)), torch.zeros((), dtype=torch.float64))

    with untouched(gen) as said:
        torch.set_default_dtype(torch.float64)  # as the package does for everybody on import
        Gradient(_Model(of_leaves(subject, at.inputs), at.wrt), None, None, criterion, 1e-8)
    failed = re.findall(r"Parameter (\w+) Relative difference (\S+)", said.getvalue())
    if failed:
        name, off = max(failed, key=lambda pair: float(pair[1]))
        because = f"relative difference {off}, expected at most 1e-7"
        return Verdict("alarm", float(off), because, name)
    return Verdict("clear", 0.0, f"{len(at.wrt)} parameters within 1e-7")
