"""torch.autograd.set_detect_anomaly: a NaN that a backward node returns is an error.

The node is named, and torch prints where its forward ran.
"""

import math
import warnings

import torch
from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, fresh, leaves, outputs
from detectors._difference import normal_like


@detector(
    claims=("value", "contract"),
    cost="1 F + 1 B with a NaN check after every node",
    blind_to="every finite wrong gradient; inf; a NaN that the forward has already",
    thresholds={"NaN": "exact"},
)
def anomaly_mode(subject: Subject, gen: Generator) -> Verdict:
    inputs = fresh(subject.inputs(gen))
    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True, check_nan=True):
        warnings.simplefilter("ignore")
        y = outputs(subject.op(*inputs))
        if not any(b.requires_grad for b in y) or any(b.isnan().any() for b in y):
            return Verdict("abstain", because="an output is NaN, or none carries a gradient")
        try:
            torch.autograd.grad(y, leaves(inputs), normal_like(y, gen), allow_unused=True)
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            node = str(error).partition("'")[2].partition("'")[0]
            because = "1 NaN or more in a gradient, expected 0: " + str(error).partition("\n")[0]
            return Verdict("alarm", math.inf, because, node)
    return Verdict("clear", 0.0, "0 NaN in the gradients of all nodes")
