"""A quick look before bytes are counted: most mutants leak nothing, and counting well is slow.

The oracle's memory channel takes 13 counts; here it is two, and what may leak is handed to the oracle.
"""

import gc
from collections.abc import Callable

from bugzoo.oracle import heap
from bugzoo.oracle.memory import LEAK
from bugzoo.oracle.probe import Probe, delivered

WARM, CALLS = 2, 3


def suspected(call: Callable[[], object]) -> bool:
    """Do the last CALLS calls leave at least as many bytes alive as leaks of the smallest size would?"""
    if not heap.supported():
        return False
    for _ in range(WARM):
        call()
    gc.freeze()
    try:
        before = heap.live_bytes()
        for _ in range(CALLS):
            call()
        return heap.live_bytes() - before >= CALLS * LEAK
    finally:
        gc.unfreeze()


def passes(probe: Probe) -> Callable[[], object]:
    """Forward and backward of an operation, as the oracle's memory channel repeats them."""
    inputs = probe.inputs()

    def call() -> None:
        y = probe.outputs(inputs)
        delivered(y, inputs, probe.cotangents(y))

    return call
