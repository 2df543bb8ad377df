"""The given precision against float64: does a narrow dtype take a worse path in the backward?

The same inputs, exactly representable in both, go through the function in both dtypes. A backward
may lose what the forward loses, and rounding; not orders of magnitude more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup.target import Rejected, Target, copies, dense
from bugzoo.finding import Finding
from bugzoo.mismatch import compare

LOOSE = {torch.float32: 500.0, torch.float16: 30.0, torch.bfloat16: 30.0}


def examine(target: Target, given: tuple[Any, ...], gen: Generator) -> list[Finding]:
    """Compare gradients in the inputs' own dtype with those in float64."""
    dtypes = {x.dtype for x in given if isinstance(x, Tensor) and x.is_floating_point()}
    if len(dtypes) != 1 or not dtypes <= set(LOOSE):
        return []
    (dtype,) = dtypes
    exact = copies(given, torch.float64)
    try:
        y, true_y = target.forward(given), target.forward(exact)
    except Rejected:
        return []
    if [t.shape for t in y] != [t.shape for t in true_y]:
        return []
    drawn = [torch.randn(t.shape, generator=gen, dtype=torch.float64).to(dtype) for t in y]
    found = _compared(target, given, exact, drawn)
    if found or dtype == torch.float32:
        return found
    # What .sum() and .mean() send: of one sign, so that a narrow sum stops growing.
    return _compared(target, given, exact, [torch.ones_like(b) for b in drawn])


def _compared(
    target: Target, given: tuple[Any, ...], exact: tuple[Any, ...], g: list[Tensor]
) -> list[Finding]:
    y, true_y = target.forward(given), target.forward(exact)
    dtype = g[0].dtype
    got = target.vjp(given, tuple(b.to(t.dtype) for b, t in zip(g, y, strict=True)), y)
    true = target.vjp(exact, tuple(b.double() for b in g), true_y)
    forward = max(compare(a, b, "y").error for a, b in zip(y, true_y, strict=True))
    allowed = LOOSE[dtype] * max(forward, torch.finfo(dtype).eps)
    found = []
    for (name, x), a, b in zip(target.leaves(given), got, true, strict=True):
        if a is None or b is None or allowed >= 1:
            continue
        a, b = dense(a), dense(b)
        differs = compare(a, b, name)
        size = max((float(t.abs().max()) for t in (a, b) if t.numel()), default=0.0)
        steep = target.largest / max(float(x.detach().abs().max()) if x.numel() else 1.0, 1e-30)
        if differs.error * size <= 50 * torch.finfo(dtype).eps * steep:
            continue  # what is left after everything cancelled is rounding
        if differs.error > allowed:
            found.append(
                Finding(
                    "value",
                    f"the gradient in {str(dtype).removeprefix('torch.')} is not that in float64",
                    differs.words,
                    error=differs.error,
                    cause=f"the backward takes another path or a narrower buffer; the forward differs by "
                    f"{forward:.1e}, the gradient by {differs.error:.1e}",
                )
            )
    return found
