"""Gradients as 24 numbers: linear projections, and the sums that explain one of them by others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPARE = 1 << 16
WIDTH = 24  # of a projection: more than contributions are ever weighed together


def sketch(t: Tensor) -> Tensor:
    """24 sums of `t` under fixed random signs, in float64; linear in `t`, the same for equal tensors.

    Of a tensor beyond SPARE elements evenly spread ones are summed; whether all are finite is asked of all.
    """
    with torch.no_grad():
        x = t.detach()
        x = (x.to_dense() if x.layout != torch.strided else x).reshape(-1)
        if x.is_complex():
            x = torch.view_as_real(x).reshape(-1)
        x = x.cpu()
        n = x.numel()
        if n <= WIDTH:
            return torch.cat([x.double(), torch.zeros(WIDTH - n, dtype=torch.float64)])
        if not math.isfinite(float(x.sum())) and not bool(x.isfinite().all()):  # a sum may overflow
            return torch.full((WIDTH,), math.nan, dtype=torch.float64)
        if n > SPARE:
            x = x[:: n // SPARE | 1]
            n = x.numel()
        # Elements are signed at random and dealt out to the 24 sums in turn: exact in each addend.
        signed = x * _signs(n, x.dtype)
        whole = n - n % WIDTH
        sums = signed[:whole].reshape(-1, WIDTH).sum(0, dtype=torch.float64)
        sums[: n - whole] += signed[whole:].double()
        return sums


_SIGNS: dict[tuple[int, torch.dtype], Tensor] = {}


def _signs(n: int, dtype: torch.dtype) -> Tensor:
    if (n, dtype) not in _SIGNS:
        if len(_SIGNS) > 64:
            _SIGNS.clear()
        gen = torch.Generator().manual_seed(n)
        _SIGNS[n, dtype] = (
            torch.randint(0, 2, (n,), generator=gen, dtype=torch.int8).mul_(2).sub_(1).to(dtype)
        )
    return _SIGNS[n, dtype]


def empty(g: Tensor) -> bool:
    values = g.coalesce().values() if g.layout == torch.sparse_coo else g
    return not bool((values != 0).any())


def explain(
    columns: list[Tensor], fresh: int, target: Tensor, p: Tensor
) -> tuple[list[float], float]:
    """Weights of the columns that make the target, and the share of it that is left over.

    The plain stories are tried first: what came since the last step, or the end of it, or all there
    is; then the same up to one common factor. Least squares come last, and only where there are numbers enough.
    """
    narrow = p.grad.dtype if p.grad is not None else p.dtype
    close = torch.finfo(narrow).eps ** 0.55 if narrow.is_floating_point else 1e-6
    count = len(columns)
    first = count - min(fresh, count)
    for free in (False, True):
        for start in [*range(first, count), *range(first - 1, -1, -1)]:
            total = torch.stack(columns[start:]).sum(0)
            size = float(total @ total)
            if size == 0.0 or not math.isfinite(size) or (free and p.numel() == 1):
                continue
            scale = float(target @ total) / size if free else 1.0
            left = float((target - scale * total).norm()) / float(target.norm())
            if left < close and scale > 0:
                return [0.0] * start + [scale] * (count - start), left
    if min(p.numel(), WIDTH) < 2 * count or not count:
        return [0.0] * count, 1.0
    return solve(columns, target)


def solve(columns: list[Tensor], target: Tensor) -> tuple[list[float], float]:
    """Weights of the columns that make the target, and the share of it that is left over.

    A column that is a multiple of later ones gets weight 0: what is recent explains first.
    """
    if not columns:
        return [], 1.0
    norm = float(target.norm())
    if not math.isfinite(norm) or norm == 0.0:
        return [0.0] * len(columns), 1.0
    sizes = [float(c.norm()) for c in columns]
    usable = [n for n, s in enumerate(sizes) if math.isfinite(s) and s > 1e-12 * norm]
    chosen: list[int] = []
    for n in reversed(usable):  # the newest first
        trial = torch.stack([columns[m] / sizes[m] for m in [*chosen, n]], 1)
        if float(torch.linalg.svdvals(trial)[-1]) > 1e-6:
            chosen.append(n)
    if not chosen:
        return [0.0] * len(columns), 1.0
    matrix = torch.stack([columns[n] / sizes[n] for n in chosen], 1)
    found = torch.linalg.lstsq(matrix, target[:, None]).solution[:, 0]
    left = float((matrix @ found - target).norm()) / norm
    weights = [0.0] * len(columns)
    for n, w in zip(chosen, found.tolist(), strict=True):
        weights[n] = w / sizes[n]
    return weights, left
