"""Do bytes stay alive that nobody can use? One call after another, then count what is left.

For an operation a call is forward, backward and letting go of everything; for a loop it is a step.
"""

from collections.abc import Callable

from bugzoo.loop import Loop
from bugzoo.oracle import heap
from bugzoo.oracle.probe import Probe, delivered
from bugzoo.oracle.witness import Witness

LEAK = 64.0  # bytes a call: the smallest graph node takes more, and rounding of the heap less


def examine(probe: Probe) -> Witness:
    """Bytes left alive by each forward and backward."""
    inputs = probe.inputs()

    def call() -> None:
        y = probe.outputs(inputs)
        delivered(y, inputs, probe.cotangents(y))

    return _judge(call, "forward and backward")


def examine_loop(loop: Loop, steps: int) -> Witness:
    """Bytes left alive by each step of a run of `steps`."""
    if steps < heap.WARM + heap.COUNTED:
        return Witness("memory", False, "none", f"a run of {steps} steps is too short to count in")
    return _judge(loop.advance, "step")


def _judge(call: Callable[[], object], what: str) -> Witness:
    if not heap.supported():
        return Witness("memory", False, "none", "this C library does not count its bytes")
    gained = max(heap.growth(call), 0.0)
    words = f"{gained:.0f} bytes stay alive after each {what}, expected 0"
    return Witness("memory", gained >= LEAK, f"{heap.COUNTED} x {what}", words, gained)
