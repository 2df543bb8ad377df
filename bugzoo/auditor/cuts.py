"""Numbers that are added to a loss: they change its value and have no effect on any gradient.

The recorded iteration is recorded once more with every number that left the graph (`item()`,
`float()`, a gradient taken without create_graph) multiplied by 1.37. The loss moves and no gradient
does: a term is lost. That the number depends on the parameters is made sure of; where the gradient
moves too, the number is a weight, and that is the author's choice.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bugzoo.auditor.slope import Slopes
from bugzoo.auditor.tape import Astray, Loss
from bugzoo.finding import Finding, Note


def examine(slopes: Slopes) -> Iterator[Finding | Note]:
    """A finding for each kind of number that is only added."""
    for kind, present in (("numbers", slopes.tape.numbers), ("gradients", slopes.tape.inner)):
        if not present:
            continue
        try:
            bent = [x for x in slopes.run(kind).tape.losses if x.counted]
        except (Astray, Exception):
            continue
        if len(bent) != len(slopes.counted):
            continue
        for x, y, ok in zip(slopes.counted, bent, slopes.valid, strict=True):
            if not ok or abs(x.value - y.value) <= 1e-7 * abs(x.value) or not _same(x, y):
                continue
            if kind == "numbers" and not _depends(slopes):
                continue
            lines = list(dict.fromkeys(slopes.tape.numbers)) if kind == "numbers" else [x.line]
            before = lines[: lines.index(x.line)] if x.line in lines else lines
            at = ", ".join((before or lines)[:3])
            what = "a number" if kind == "numbers" else "a gradient without a graph"
            remedy = (
                "item(), float() or tolist() cut it" if kind == "numbers"
                else "autograd.grad needs create_graph=True for what is differentiated again"
            )  # fmt: skip
            yield Finding(
                "value", f"{what} is added to the loss and has no effect on any gradient",
                f"the loss is {x.value:.6g}, with the number 1.37 times as large {y.value:.6g}",
                0.0, y.value - x.value, step=slopes.start + 1, line=at,
                cause=f"a term is lost from the graph: {remedy}",
            )  # fmt: skip
            break


def _same(x: Loss, y: Loss) -> bool:
    """Not one gradient has moved, and there are some."""
    return bool(x.got) and all(
        n in y.got and bool(torch.allclose(g, y.got[n], rtol=1e-9, atol=0.0))
        for n, g in x.got.items()
    )


def _depends(slopes: Slopes) -> bool:
    """A number is another one where the parameters are others, everything else being free."""
    u = slopes.direction(3)
    try:
        return slopes.play(u, 1e-3, free=True).depends
    except (Astray, Exception):
        return False
