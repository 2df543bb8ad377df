"""A derivative without autograd: central differences, extrapolated to order six (Richardson).

    D(h) = (f(x + h) - f(x - h)) / 2h = f' + a h^2 + b h^4 + ...
    (64 D(h/4) - 20 D(h/2) + D(h)) / 45 = f' + O(h^6)

Used where an operation has no plain differentiable reference. Two forwards an element and a step.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

STEP = 2e-2  # relative to max(1, |x|)
ACCURACY = 1e-7  # relative; measured 1e-10 on smooth functions, the rest is margin for steep ones


def gradients(
    op: Callable[..., tuple[Tensor, ...]], inputs: tuple[Any, ...], g: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """d<op(x), g>/dx for each leaf of `inputs`, elementwise, in the leaf's shape."""

    def scalar(values: tuple[Any, ...]) -> float:
        ys = op(*values)
        return sum((y.detach() * b).sum().item() for y, b in zip(ys, g, strict=True))

    found = []
    for slot, x in enumerate(inputs):
        if not (isinstance(x, Tensor) and x.requires_grad):
            continue
        d = torch.zeros(x.shape, dtype=x.dtype)
        for index in torch.cartesian_prod(*map(torch.arange, x.shape)).reshape(-1, x.dim()):
            at = tuple(index.tolist())
            h = STEP * max(1.0, abs(x[at].item()))

            def central(h: float, slot: int = slot, at: tuple = at, x: Tensor = x) -> float:
                sides = []
                for signed in (h, -h):
                    moved = x.detach().clone()
                    moved[at] += signed
                    values = (*inputs[:slot], moved.requires_grad_(), *inputs[slot + 1 :])
                    sides.append(scalar(values))
                return (sides[0] - sides[1]) / (2 * h)

            d[at] = (64 * central(h / 4) - 20 * central(h / 2) + central(h)) / 45
        found.append(d)
    return tuple(found)
