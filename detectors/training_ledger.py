"""Are tensors saved by a forward still intact when its backward reads them, step after step?

The saved-tensor ledger on whole training steps, whose parts share tensors: what one operation
writes into, another may have saved. What nobody reads any more may change: weights do.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._ledger import Ledger

STEPS = 4


@detector(
    needs="training",
    claims=("side_effect", "trajectory"),
    cost="4 steps, and a copy of every saved tensor",
    blind_to="tensors kept as attributes of ctx; cotangents, unless a node saved them; every wrong "
    "number computed from intact tensors; leaks",
    thresholds={"0 changed elements": "exact", "0 new versions": "exact"},
)
def training_ledger(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    # Running statistics are changed by the very operation that saves them.
    buffers = {b.data_ptr() for model in run.models for b in model.buffers()}
    ledger = Ledger(exempt=lambda t: t.data_ptr() in buffers)
    for step in range(1, STEPS + 1):
        with ledger.open():
            run.advance()
        ledger.seals.clear()
        if ledger.changed:
            words = next(iter(ledger.changed.values()))
            return Verdict("alarm", float(len(ledger.changed)), words, f"step {step}")
    return Verdict("clear", 0.0, f"0 of {ledger.count} saved tensors changed, expected 0")
