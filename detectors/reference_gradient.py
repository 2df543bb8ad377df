"""Autograd through a plain differentiable forward, with the same inputs, cotangent and dtype.

    max |dx - dx_reference| <= rtol max(|dx|, |dx_reference|) + 3 r          for each input

r: the rounding of the reference itself, measured against its own gradient in float64. It is what
a kernel's tests do: FlashAttention allows three times the error of the plain implementation.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject, fresh, leaves, outputs
from detectors._difference import Gap, normal_like, relative_to_largest, widest

RTOL = {torch.float64: 1e-7, torch.float32: 1.3e-6, torch.float16: 1e-3, torch.bfloat16: 1.6e-2}
ROUNDINGS = 3
ZERO = 100 * torch.finfo(torch.float64).eps  # of |g|: a true gradient of 0 is only that exact


@detector(
    needs=("operation", "reference"),
    cost="1 F + 1 B of the subject, 1 (F + B) of the reference, 2 below float64",
    blind_to="whatever the reference gets wrong too; special cotangents; side effects; a second "
    "backward; leaks. It needs somebody to have written the plain forward",
    thresholds={
        "rtol = 1e-7 (float64), 1.3e-6 (float32), 1e-3 (half), 1.6e-2 (bfloat16)": "torch.testing",
        "3 roundings of the reference": "FlashAttention, tests/test_flash_attn.py",
    },
)
def reference_gradient(subject: Subject, gen: Generator) -> Verdict:
    inputs = subject.inputs(gen)
    if not subject.deterministic or not leaves(inputs):
        return Verdict("abstain", because="random, or no input requires grad: nothing to compare")
    plain = fresh(inputs)
    z = outputs(subject.reference(*plain))
    g = normal_like(z, gen)
    expected = exact = _gradients(z, plain, g)
    if any(d.dtype != torch.float64 for d in expected):
        double = fresh(inputs, torch.float64)
        z = outputs(subject.reference(*double))
        exact = _gradients(z, double, [b.to(c.dtype) for b, c in zip(g, z, strict=True)])
    size = max((b.abs().max().item() for b in g if b.numel()), default=0.0)
    got = subject.vjp(fresh(inputs), g)
    worst = Gap(-1.0, "no element to compare", "")
    for n, (a, b, c) in enumerate(zip(got, expected, exact, strict=True)):
        own = (b - c).abs().nan_to_num(0.0, posinf=0.0).max().item() if b.numel() else 0.0
        floor = ROUNDINGS * own + ZERO * size
        gap = widest([a], [b], relative_to_largest(floor))
        score = gap.score / RTOL.get(b.dtype, 1e-7)
        if gap.where and score > worst.score:
            worst = Gap(score, gap.because, gap.where.replace("dx0", f"dx{n}"))
    if not worst.where:
        return Verdict("abstain", because=worst.because)
    return Verdict("alarm" if worst.score > 1 else "clear", worst.score, worst.because, worst.where)


def _gradients(
    z: Sequence[Tensor], inputs: Sequence[Any], g: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    wrt = leaves(inputs)
    if not any(b.requires_grad for b in z):
        return tuple(torch.zeros_like(x) for x in wrt)
    found = torch.autograd.grad(z, wrt, g, allow_unused=True)
    return tuple(torch.zeros_like(x) if d is None else d for x, d in zip(wrt, found, strict=True))
