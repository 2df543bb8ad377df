"""Right, if not to the last digit: forwards that stop at a tolerance, backwards that work from less.

A loop that stops at 1e-6 is a staircase from close by, or cut short by a little; activations saved in 8
bits give a gradient with 8 bits; an exponential may limit its gradient on purpose. None is a wrong
formula. What is off by more, or has no such reason, stays a finding.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bugzoo.checkup import replay
from bugzoo.checkup.direction import Slope, slope
from bugzoo.checkup.graph import nodes
from bugzoo.checkup.target import Rejected, Target, copies, dense
from bugzoo.finding import Finding, Note

WIDER = (1e3, 1e4)  # times the usual step, to look past the tolerance of a forward that iterates
CLOSE = 1e-4  # of an element: what a fixed number of iterations, or a table, leaves over
TOLERANCE = 3e-3  # where the number of iterations depends on the numbers
ENCODED = 5e-2  # where the backward works from tensors saved in 8 bits
LIMIT = 1e3  # cotangents are of the size of 1: a gradient beyond this may be limited on purpose
NOTHING = 1e-6
CODES = (torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2)


def inexact(
    target: Target, inputs: tuple, g: tuple, u: list, mine: float, near: Slope
) -> Note | None:
    """A forward that iterates to a tolerance is a staircase, or off by a little, from close by: does the
    gradient agree with its slope over far larger steps, and only with that?"""
    gap = abs(mine - near.value)
    for wider in WIDER:
        far, middle = (slope(target, inputs, u, g, shrink=k) for k in (wider, wider / 3))
        if not far.finite or not middle.finite:
            return None
        best = (9 * middle.value - far.value) / 8  # the curvature taken out
        error = abs(best - middle.value) / 4 + middle.error
        if max(abs(mine - best), error) < 0.2 * gap:
            return Note(
                "inexact",
                f"from close by the forward has the slope {near.value:.6g}, over wider steps {best:.6g}, and "
                f"the gradient gives {mine:.6g}: it stops at a tolerance, or rounds",
            )
    return None


def approximate(
    target: Target, inputs: tuple, found: Finding, d: Tensor | None = None
) -> Note | None:
    """The most wrong element is nearly right, and there is a reason why it need not be quite right."""
    if found.yours is None or found.true is None or not replay.names(target, inputs):
        return None  # what autograd alone gives is exact
    usual = 0.0 if d is None else float(dense(d).abs().square().mean() ** 0.5)
    size = max(abs(found.yours), abs(found.true), usual)
    gap = abs(found.yours - found.true) / size if size else 0.0
    if d is not None and d.is_complex():
        gap = found.error  # the numbers told are real parts
    if gap <= CLOSE:
        reason = "approximate, or a sum cut short"
    elif gap <= TOLERANCE and iterates(target, inputs):
        reason = "the forward repeats until it is near enough"
    elif gap <= ENCODED and _encoded(target, inputs):
        reason = "the backward works from what was saved in fewer bits"
    else:
        return None
    numbers = f"{found.yours:.7g}, true {found.true:.7g}"
    return Note(
        "inexact", f"the gradient is right to {gap:.0e}: {reason} ({found.where}: {numbers})"
    )


def limited(found: Finding) -> Note | None:
    """A slope beyond all use, and a gradient of its sign that is held back: no formula, a guard."""
    a, b = found.yours, found.true
    if a is None or b is None or a * b <= 0 or not LIMIT <= abs(a) < abs(b):
        return None
    said = f"the gradient is held to {a:.3g} where the slope is {b:.3g}: a guard ({found.where})"
    return Note("convention", said)


class _Count(TorchDispatchMode):
    """Counts the operations in its block."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def iterates(target: Target, inputs: tuple[Any, ...]) -> bool:
    """Does the number of operations depend on the numbers? So it is in a loop that stops when it is near."""
    counts = set()
    for factor in (1.0, 1.5, 0.5, 0.1, 1e-3):
        made = copies(inputs)
        with torch.no_grad():
            for x in made:
                if isinstance(x, Tensor) and x.requires_grad:
                    x.mul_(factor)
        try:
            with torch.no_grad(), _Count() as count:
                target.forward(made)
        except Rejected:
            continue
        counts.add(count.calls)
    return len(counts) > 1


def _encoded(target: Target, inputs: tuple[Any, ...]) -> bool:
    """Do custom Functions keep narrow numbers for the backward, where the outputs are wider?"""
    y = target.forward(inputs)
    if any(t.dtype in CODES for t in y):
        return False
    for node in islice(nodes(t.grad_fn for t in y), 500):
        if hasattr(type(node), "_forward_cls"):
            kept = [*node.saved_tensors, *vars(node).values()]
            if any(isinstance(t, Tensor) and t.dtype in CODES for t in kept):
                return True
    return False
