"""Is every tensor saved for backward still what it was, when backward reads it and afterwards?

A copy is sealed when autograd packs a tensor, and compared when it is unpacked and at the end, so
that writes through `.data` and NumPy are seen too, which autograd's version counter misses.
"""

import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, fresh, leaves, outputs
from detectors._difference import normal_like
from detectors._ledger import Ledger


@detector(
    claims="side_effect",
    cost="1 F + 1 B, and a copy of every saved tensor",
    blind_to="tensors kept as attributes of ctx; the cotangent, unless a node saved it; every wrong "
    "number computed from intact tensors; leaks",
    thresholds={"0 changed elements": "exact", "0 new versions": "exact"},
)
def saved_tensor_ledger(subject: Subject, gen: Generator) -> Verdict:
    inputs = fresh(subject.inputs(gen))
    # Statistics that a layer keeps come in as inputs without a gradient: it may update them.
    kept = {x.data_ptr() for x in inputs if isinstance(x, Tensor) and not x.requires_grad}
    ledger = Ledger(exempt=lambda t: t.data_ptr() in kept)
    with ledger.open():
        y = outputs(subject.op(*inputs))
    if not any(b.requires_grad for b in y):
        return Verdict("abstain", because="no output carries a gradient: there is no backward")
    torch.autograd.grad(y, leaves(inputs), normal_like(y, gen), allow_unused=True)
    ledger.audit()
    if ledger.changed:
        number, words = next(iter(ledger.changed.items()))
        return Verdict("alarm", float(len(ledger.changed)), words, f"saved tensor {number}")
    return Verdict("clear", 0.0, f"0 of {ledger.count} saved tensors changed, expected 0")
