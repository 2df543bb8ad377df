"""The given precision against float64: does a narrow dtype take a worse path in the backward?

The same inputs, exactly representable in both, go through the function in both dtypes. A backward
may lose what the forward loses, and rounding; not orders of magnitude more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup import replay
from bugzoo.checkup.given import described
from bugzoo.checkup.judgement import cotangents
from bugzoo.checkup.sizes import all_sizes, resized
from bugzoo.checkup.target import Rejected, Target, copies, dense, weight
from bugzoo.checkup.variation import accepts
from bugzoo.finding import Finding
from bugzoo.mismatch import compare

LOOSE = {torch.float32: 500.0, torch.float16: 30.0, torch.bfloat16: 30.0}
FAR = (300.0, 1000.0)
HELD = 3e4  # that half holds with room
PART = (
    0.1  # of the largest output, at least, is what a gradient is made of that came out as nothing
)
MANY, ROOM = 2050, 50_000  # rows, and numbers in the inputs at most


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
    # The narrowest: a loss in float32 of inputs in bfloat16 has gradients in bfloat16.
    known = {g[0].dtype, *(x.dtype for _, x in target.leaves(given))} & set(LOOSE)
    dtype = max(known, key=lambda t: torch.finfo(t).eps)
    got = target.vjp(given, tuple(b.to(t.dtype) for b, t in zip(g, y, strict=True)), y)
    true = target.vjp(exact, tuple(b.to(t.dtype) for b, t in zip(g, true_y, strict=True)), true_y)
    forward = max(compare(a, b, "y").error for a, b in zip(y, true_y, strict=True))
    allowed = LOOSE[dtype] * max(forward, torch.finfo(dtype).eps)
    found = []
    for (name, x), a, b in zip(target.leaves(given), got, true, strict=True):
        if a is None or b is None or allowed >= 1:
            continue
        a, b = dense(a), dense(b)
        differs = compare(a, b, name)
        size = max((float(t.abs().max()) for t in (a, b) if t.numel()), default=0.0)
        steep = target.largest / ((float(x.detach().abs().max()) if x.numel() else 0.0) or 1.0)
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


def beyond(target: Target, given: tuple[Any, ...], gen: Generator) -> list[Finding]:
    """Of a Function in half or bfloat16: values of some hundreds, and many rows to sum over.

    Half ends at 65504, so x * x at 256; a sum of ones in bfloat16 stops at 256.
    """
    dtypes = {x.dtype for x in given if isinstance(x, Tensor) and x.is_floating_point()}
    if len(dtypes) != 1 or not dtypes <= {torch.float16, torch.bfloat16}:
        return []
    calls = len(replay.calls(target, given))
    found: list[Finding] = []
    if calls and dtypes == {torch.float16}:
        for n, x in enumerate(given):
            for far in FAR if isinstance(x, Tensor) and x.requires_grad and x.numel() else ():
                made = copies(given)
                with torch.no_grad():
                    made[n].mul_(far / float(x.detach().abs().max().clamp(min=1e-3)))
                found = found or _overflows(target, made, gen)
    for size in sorted(all_sizes(given)):
        if calls and not found and size < MANY and weight(given) * MANY <= ROOM * size:
            made = resized(given, {size: MANY}, gen)
            # One call as before: what autograd itself sums over calls is not the Function's doing.
            if accepts(target, made) and len(replay.calls(target, made)) == calls:
                ones = [torch.ones_like(t) for t in target.plain(made)]
                found = [
                    replace(f, inputs=described(made))
                    for f in _compared(target, made, copies(made, torch.float64), ones)
                ]
    return found


def _overflows(target: Target, inputs: tuple[Any, ...], gen: Generator) -> list[Finding]:
    """Forward finite, gradient not, or nothing; and in float64 both, with numbers that half holds."""
    exact = copies(inputs, torch.float64)
    if not accepts(target, inputs) or not accepts(target, exact):
        return []
    y, true_y = target.forward(inputs), target.forward(exact)
    g = cotangents(true_y, gen)
    got = target.vjp(inputs, tuple(b.to(t.dtype) for b, t in zip(g, y, strict=True)), y)
    true = target.vjp(exact, g, true_y)
    for (name, x), a, b in zip(target.leaves(inputs), got, true, strict=True):
        if a is None or b is None or not b.numel() or not bool((b.abs() < HELD).all()):
            continue
        if not bool(a.any()) and _follows(x, b, g, y, true_y):
            place = tuple(int(i) for i in (b.abs() == b.abs().max()).nonzero()[0])
            return [Finding(
                "value", "the gradient in float16 is zero where that in float64 is not",
                f"{name}{list(place)} = {float(x.detach()[place]):.6g}", 0.0, float(b[place]),
                inputs=described(inputs),
                cause="a product in the backward passes 65504, and one by it is 0: compute it in float32",
            )]  # fmt: skip
        if bool(a.isfinite().all()):
            continue
        place = tuple(int(i) for i in (~a.isfinite()).nonzero()[0]) if a.dim() else ()
        where = f"{name}{list(place)} = {float(x.detach()[place]):.6g}"
        return [Finding(
            "value", "the gradient in float16 is not finite where that in float64 is", where,
            float(a[place]), float(b[place]), inputs=described(inputs),
            cause="a product in the backward passes 65504: compute it in float32",
        )]  # fmt: skip
    return []


def _follows(x: Tensor, dx: Tensor, g: tuple, y: tuple, true_y: tuple) -> bool:
    """The outputs, the same in both dtypes, do follow this leaf: not flat far out, nor below rounding."""
    parts = max(
        (float((b * t.detach()).abs().max()) for b, t in zip(g, true_y, strict=True)), default=0
    )
    near = all(
        compare(a.detach(), b.detach(), "y").error < 0.05 for a, b in zip(y, true_y, strict=True)
    )
    return near and float((dx * x.detach().to(dx)).abs().max()) > PART * parts > 0
