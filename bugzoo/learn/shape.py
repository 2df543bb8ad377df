"""The shape of an error: what a look at yours - expected tells before any formula is read.

e = yours - expected ~ k t          t: 1, g, x, y, g y, one k for all rows or one for each
"""

import torch
from torch import Tensor

from bugzoo.mismatch import pattern

CLOSE = 1e-8


def named(ratio: float, shape: torch.Size) -> str:
    """'6 (= the last axis)', '1/2', '-1': a factor in the words of somebody who looks for it."""
    for n, size in enumerate(shape):
        if size > 2:
            axis = n - len(shape)
            if abs(ratio - size) < 1e-6 * size:
                return f"{ratio:.6g}, the length of axis {axis}"
            if abs(ratio * size - 1) < 1e-6:
                return f"1/{size}, one over the length of axis {axis}"
    count = shape.numel()
    if count > 2 and abs(ratio - count) < 1e-6 * count:
        return f"{ratio:.6g}, the number of elements"
    if count > 2 and abs(ratio * count - 1) < 1e-6:
        return f"1/{count}, one over the number of elements"
    if ratio and abs(1 / ratio - round(1 / ratio)) < 1e-6 and abs(ratio) < 1:
        return f"1/{round(1 / ratio)}"
    return f"{ratio:.6g}"


def words(
    yours: Tensor,
    true: Tensor,
    terms: dict[str, Tensor],
    elementwise: bool = False,
    x: str = "x",
) -> list[str]:
    """Lines that describe yours - true; 'no simple pattern' where nothing fits.

    `terms`: what the error may be made of, by name; `x`: the name of the input.
    """
    said = pattern(yours.double(), true.double()) if yours.shape == true.shape else ""
    if said.startswith("a common factor of "):
        ratio = float(said.rpartition(" ")[2])
        return [f"yours is everywhere {named(ratio, true.shape)} times the expected one"]
    if said and not said.startswith("the error is constant"):
        return [f"yours is {said}" if not said.startswith("the ") else said]
    if (rows := _rows(yours, true)) is not None:
        return [rows]
    fitted = _term(yours.double(), true.double(), terms)
    if fitted:
        return fitted
    if said:
        return [said]
    return [
        _along(yours.double(), true.double()) or _where(yours, true, terms.get(x), elementwise, x)
    ]


def _rows(yours: Tensor, true: Tensor) -> str | None:
    """Only some rows of the first axis are wrong."""
    if true.dim() < 2 or true.shape[0] < 2:
        return None
    scale = max(true.abs().max().item(), yours.abs().max().item(), 1e-300)
    bad = ((yours - true).abs() > 1e-9 * scale).flatten(1).any(1)
    if not bad.any() or bad.all():
        return None
    listed = [int(n) for n in bad.nonzero().flatten()]
    return f"only row{'s' * (len(listed) > 1)} {', '.join(map(str, listed[:8]))} of the first axis"


def _term(yours: Tensor, true: Tensor, terms: dict[str, Tensor]) -> list[str]:
    gap = yours - true
    rows = gap.reshape(-1, gap.shape[-1]) if gap.dim() else gap.reshape(1, 1)
    for name, t in terms.items():
        flat = t.double().expand_as(gap).reshape(rows.shape)
        norm = (flat * flat).sum(-1, keepdim=True)
        if not bool((norm > 0).all()) or rows.shape[1] < 3:
            continue
        k = (rows * flat).sum(-1, keepdim=True) / norm
        if (rows - k * flat).abs().max() > CLOSE * rows.abs().max():
            continue
        what = "a constant" if name == "1" else f"a multiple of {name}"
        if k.numel() > 1 and (k - k[0]).abs().max() <= CLOSE * k.abs().max():
            return [
                f"the error is {k[0].item():.6g}{'' if name == '1' else f' {name}'} on every row"
            ]
        lines = [f"on every row the error is {what}, nothing else"]
        if ratio := _coefficient(yours, true, name, terms):
            lines.append(ratio)
        return lines
    return []


def _coefficient(yours: Tensor, true: Tensor, name: str, terms: dict[str, Tensor]) -> str:
    """'your coefficient of y is 6 times the expected one': both regressed on {1, g, t}, row by row."""
    basis = [terms[n] for n in dict.fromkeys(["1", "g", name]) if n in terms]
    width = true.shape[-1]
    if width <= len(basis) or name not in terms:
        return ""
    stacked = torch.stack([t.double().expand_as(true).reshape(-1, width) for t in basis], -1)
    at = [n for n in dict.fromkeys(["1", "g", name]) if n in terms].index(name)
    found = []
    for side in (yours, true):
        solved = torch.linalg.lstsq(stacked, side.reshape(-1, width, 1))
        rest = (stacked @ solved.solution).squeeze(-1) - side.reshape(-1, width)
        if rest.abs().max() > CLOSE * side.abs().max().clamp(min=1e-300):
            return ""
        found.append(solved.solution[:, at, 0])
    mine, theirs = found
    if theirs.abs().min() < 1e-10:
        return ""
    ratio = mine / theirs
    if (ratio - ratio[0]).abs().max() > 1e-6 * ratio.abs().max().clamp(min=1e-9):
        return ""
    what = "constant" if name == "1" else f"coefficient of {name}"
    if ratio[0].abs() < 1e-9:
        return f"your {what} is missing"
    return f"your {what} is {named(ratio[0].item(), true.shape)} times the expected one"


def _along(yours: Tensor, true: Tensor) -> str:
    """The ratio is constant along an axis."""
    if true.dim() == 0 or true.abs().min() < 1e-12:
        return ""
    ratio = yours / true
    for axis in range(true.dim()):
        first = ratio.narrow(axis, 0, 1)
        if true.shape[axis] > 1 and (ratio - first).abs().max() <= 1e-7 * ratio.abs().max():
            return f"the ratio is constant along axis {axis - true.dim()}"
    return ""


def _where(yours: Tensor, true: Tensor, x: Tensor | None, elementwise: bool, name: str) -> str:
    """Wrong only where x is negative, or the ratio at x = -2 ... 2, for an element-wise pass."""
    if x is None or x.shape != true.shape:
        return "no simple pattern"
    scale = max(true.abs().max().item(), 1e-300)
    bad = (yours - true).abs() > 1e-9 * scale
    for said, place in (("<= 0", x <= 0), (">= 0", x >= 0), ("== 0", x == 0)):
        if bad.any() and not bool((bad & ~place).any()) and bool((~place).any()):
            return f"wrong only where {name} {said}"
    if not elementwise:
        return "no simple pattern"
    found = []
    flat, ours, theirs = x.reshape(-1), yours.reshape(-1), true.reshape(-1)
    for at in (-2.0, -1.0, 0.0, 1.0, 2.0):
        n = int((flat - at).abs().argmin())
        if theirs[n]:
            found.append(f"{ours[n].item() / theirs[n].item():.3g} at {flat[n].item():+.2f}")
    return f"no simple pattern; ratio by {name}: {', '.join(dict.fromkeys(found))}"
