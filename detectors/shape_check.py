"""Is there a gradient for every input, and has it the input's shape and dtype?

The first assertion of many a unit test. The engine itself casts and sums to shape where it can, so
what is left to see here is a missing gradient, and the engine's complaint where it cannot.
"""

import math

import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, fresh, leaves, outputs
from detectors._difference import normal_like


@detector(
    claims="contract",
    cost="1 F + 1 B",
    blind_to="every wrong number; gradients that the engine summed to shape or cast. An input "
    "that has no gradient by design alarms",
)
def shape_check(subject: Subject, gen: Generator) -> Verdict:
    inputs = fresh(subject.inputs(gen))
    wrt, y = leaves(inputs), outputs(subject.op(*inputs))
    if not wrt:
        return Verdict("abstain", because="no input requires grad")
    if not any(b.requires_grad for b in y):
        return Verdict(
            "alarm", math.inf, f"0 of {len(y)} outputs carry a gradient, expected 1", "y"
        )
    try:
        found = torch.autograd.grad(y, wrt, normal_like(y, gen), allow_unused=True)
    except RuntimeError as error:
        if "returned an invalid gradient" not in str(error):
            raise
        return Verdict("alarm", math.inf, str(error).partition("returned ")[2])
    for n, (x, d) in enumerate(zip(wrt, found, strict=True)):
        if d is None or d.shape != x.shape or d.dtype != x.dtype:
            because = f"dx{n} is {_kind(d)}, expected {_kind(x)}"
            return Verdict("alarm", 1.0, because, f"dx{n}")
    return Verdict("clear", 0.0, f"{len(wrt)} gradients, each of its input's shape and dtype")


def _kind(t: Tensor | None) -> str:
    if t is None:
        return "None"
    return f"{'x'.join(map(str, t.shape)) or 'a scalar'} {str(t.dtype).removeprefix('torch.')}"
