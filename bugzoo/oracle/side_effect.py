"""Does a pass change what it was only lent? Inputs, cotangent, outputs and saved tensors, bit by bit.

The consumer of y may hand the same cotangent to another branch, another node may have saved the
same tensor: an in-place write there is a wrong gradient elsewhere, and autograd cannot see it.
"""

from typing import Any

from torch import Tensor

from bugzoo.mismatch import compare
from bugzoo.oracle.probe import Probe, delivered
from bugzoo.oracle.witness import Witness


def examine(probe: Probe) -> Witness:
    """Snapshot all that is lent before the forward and before the backward; compare after each."""
    inputs = probe.inputs()
    before = _copies({f"input {n}": x for n, x in enumerate(inputs) if isinstance(x, Tensor)})
    y = probe.outputs(inputs)
    changed, error = _changed(before, "forward")
    if not changed:
        g = probe.cotangents(y)
        lent = {f"input {n}": x for n, x in enumerate(inputs) if isinstance(x, Tensor)}
        lent |= {f"output {n}": b for n, b in enumerate(y)}
        lent |= {f"cotangent {n}": b for n, b in enumerate(g)}
        lent |= {f"saved tensor {n}": s for n, s in enumerate(_saved(y))}
        before = _copies(lent)
        delivered(y, inputs, g, retain_graph=True)
        changed, error = _changed(before, "backward")
    words = changed or f"{len(before)} tensors unchanged, bit by bit"
    return Witness("side_effect", bool(changed), "inputs, cotangent, saved", words, error)


def _saved(outputs: tuple[Tensor, ...]) -> list[Tensor]:
    found: list[Tensor] = []
    for y in outputs:
        node: Any = y.grad_fn
        found += [s for s in getattr(node, "saved_tensors", ()) if isinstance(s, Tensor)]
    return found


def _copies(tensors: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (t.detach(), t.detach().clone()) for name, t in tensors.items()}


def _changed(before: dict[str, tuple[Tensor, Tensor]], when: str) -> tuple[str, float]:
    for name, (now, then) in before.items():
        differ = ((now != then) & ~(now.isnan() & then.isnan())).reshape(-1)
        if differ.any():
            at, count = int(differ.nonzero()[0]), int(differ.sum())
            words = (
                f"{when} changed {name} in {count} of {now.numel()} elements: "
                f"[{at}] was {then.reshape(-1)[at].item():.6g}, is {now.reshape(-1)[at].item():.6g}"
            )
            return words, compare(now, then).error
    return "", 0.0
