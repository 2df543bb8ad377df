"""Is the gradient that the engine delivers the derivative of the forward?

    |dx - true| <= rtol * max(|dx|, |true|)          maxima over all elements of one input
                or 1e-12 |g|

Scaled by both: a softmax under a constant cotangent has a true gradient of 0, and rounding is
then all there is on either side.
"""

from torch import Tensor

from bugzoo.mismatch import Mismatch, compare
from bugzoo.oracle import differences
from bugzoo.oracle.probe import Probe, again, delivered, leaves
from bugzoo.oracle.witness import Witness

FLOOR = 1e-12  # of the cotangent's size: a smaller gap is rounding, whatever it is relative to


def examine(probe: Probe) -> Witness:
    """Compare with autograd of the reference, or with extrapolated differences of the forward."""
    inputs = probe.inputs()
    kept = again(inputs)
    y = probe.outputs(inputs)
    g = probe.cotangents(y)
    rtol = probe.case.rtol
    if probe.truth.reference is not None:
        source = "autograd of the reference"
        z = probe.references(kept)
        for ours, theirs in zip(y, z, strict=True):
            forward = compare(ours, theirs, "y")
            if forward.error > rtol:
                return Witness("value", True, "forward", forward.words, forward.error)
        true = delivered(z, kept, g)
    else:
        source = "central differences of order 6"
        rtol = max(rtol, differences.ACCURACY)
        true = differences.gradients(lambda *x: probe.outputs(x), kept, g)
    # The specimen comes last: should it write into the cotangent, the truth is known already.
    got = delivered(y, inputs, g)
    worst = furthest(leaves(inputs), got, true, g)
    about = f"{probe.case.cotangent} cotangent"
    return Witness("value", worst.error > rtol, about, worst.words, worst.error, reference=source)


def furthest(
    wrt: tuple[Tensor, ...],
    got: tuple[Tensor | None, ...],
    true: tuple[Tensor | None, ...],
    g: tuple[Tensor, ...],
) -> Mismatch:
    """The worst mismatch over the inputs; a gap that is rounding of the cotangent counts as equal."""
    floor = FLOOR * max((_size(b) for b in g), default=0.0)
    worst = Mismatch(0.0, f"equal in all {sum(x.numel() for x in wrt)} elements")
    for n, (x, ours, theirs) in enumerate(zip(wrt, got, true, strict=True)):
        found = compare(ours, x.new_zeros(x.shape) if theirs is None else theirs, f"dx{n}")
        gap = found.error * max(_size(ours), _size(theirs))
        if found.error > worst.error and not gap <= floor:  # a NaN is no rounding
            worst = found
    return worst


def _size(t: Tensor | None) -> float:
    return t.abs().max().item() if t is not None and t.numel() else 0.0
