"""Two gradients in words and numbers: the first wrong element, the worst, the ratio, the shape of the error."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mismatch:
    """`error` is max|yours - true| / max(|yours|, |true|), maxima over all elements; inf for NaN.

    `words` is one line: where, yours, true, and the shape of the error when it has one.
    """

    error: float
    words: str


def compare(yours: Tensor | None, true: Tensor, name: str = "dx") -> Mismatch:
    """How far `yours` is from `true`; error 0.0 where both are exactly equal."""
    if yours is None:
        yours = torch.zeros_like(true)
    if yours.shape != true.shape:
        return Mismatch(float("inf"), f"{name} has shape {_shape(yours)}, expected {_shape(true)}")
    if yours.dtype == true.dtype and torch.equal(yours, true):
        return Mismatch(0.0, f"{name} equal in all {true.numel()} elements")
    yours, true = (
        t.detach().to(torch.promote_types(t.dtype, torch.float64)) for t in (yours, true)
    )
    wrong_nan = ~yours.isfinite() & true.isfinite()
    if wrong_nan.any():
        at = _index(wrong_nan)
        return Mismatch(
            float("inf"),
            f"{name}{list(at)} is {yours[at].item():.4g}, true {true[at].item():.4g} "
            f"({int(wrong_nan.sum())} of {true.numel()} elements not finite)",
        )
    gap = (yours - true).abs().nan_to_num(0.0)
    scale = max(_largest(yours), _largest(true))
    worst = gap.max().item() if gap.numel() else 0.0
    if worst == 0.0:
        return Mismatch(0.0, f"{name} equal in all {true.numel()} elements")
    error = worst / scale if scale > 0 else float("inf")
    wrong = gap >= max(1e-3 * worst, min(1e-9 * scale, worst))
    first, peak = _index(wrong), _index(gap == gap.max())
    words = f"{_pair(name, first, yours, true)}; {int(wrong.sum())} of {true.numel()} wrong"
    if peak != first:
        words += f", worst {_pair(name, peak, yours, true)}"
    shape = pattern(yours, true)
    return Mismatch(error, f"{words}; {shape}" if shape else words)


def pattern(yours: Tensor, true: Tensor) -> str:
    """The shape of the error in words, or '': a common factor, a transpose, zeros, a constant along an axis."""
    scale = max(_largest(yours), _largest(true))
    tolerance = 1e-7 * scale

    def near(a: Tensor, b: Tensor) -> bool:
        return a.shape == b.shape and bool(((a - b).abs() <= tolerance).all())

    if _largest(yours) == 0.0:
        return "all zeros"
    if near(yours, -true):
        return "the sign is wrong"
    norm = true.abs().square().sum()
    if norm > 0:
        ratio = ((yours * true.conj()).sum() / norm).item()
        if abs(ratio) > 1e-9 and near(yours, ratio * true):
            return f"a common factor of {ratio:.6g}"
    if true.dim() >= 2 and near(yours, true.mT):
        return "the true one transposed"
    gap = yours - true
    for axis in range(true.dim()):
        if true.shape[axis] > 1 and near(gap, gap.narrow(axis, 0, 1).expand_as(gap)):
            return f"the error is constant along axis {axis}"
    missing = (yours == 0) & (true.abs() > tolerance)
    if missing.any() and near(torch.where(missing, true, yours), true):
        return f"zero in {int(missing.sum())} places where it should not be, right elsewhere"
    return ""


def _pair(name: str, at: tuple[int, ...], yours: Tensor, true: Tensor) -> str:
    """'dx[0, 1] is 2.5, true 5 (x 0.5)'; the ratio is left out where the true one is 0."""
    a, b = yours[at].item(), true[at].item()
    where = f"{name}{list(at)}" if at else name
    return f"{where} is {a:.5g}, true {b:.5g}" + (f" (x {a / b:.4g})" if b else "")


def _index(mask: Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in mask.nonzero()[0]) if mask.dim() else ()


def _largest(t: Tensor) -> float:
    finite = t[t.isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _shape(t: Tensor) -> str:
    return "x".join(map(str, t.shape)) or "scalar"
