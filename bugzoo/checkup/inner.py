"""Functions inside the function whose gradient is one by design: held to it while the inputs move.

    y = y0 + k (x - x0)         k = vjp(1) at the base point; the forward is a staircase or the identity

With straight-through estimators and gradient reversals so replaced, the difference quotient of the whole
is what the backward should give, and a mistake elsewhere still shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import _SingleLevelFunction

from bugzoo.checkup import surrogate
from bugzoo.checkup.patching import patched
from bugzoo.checkup.target import Target


@dataclass
class Line:
    """What stands for one call: through (x0, y0) with the slope k, element by element."""

    slot: int
    x0: Tensor
    y0: Tensor
    k: Tensor

    def at(self, args: tuple[Any, ...]) -> Tensor:
        return self.y0 + self.k * (args[self.slot] - self.x0)


class Inner:
    """The calls of custom Functions in one function: recorded first, then the surrogates replaced."""

    def __init__(self) -> None:
        self.lines: list[Line | None] = []
        self.busy = False

    @property
    def count(self) -> int:
        return sum(line is not None for line in self.lines)

    @contextmanager
    def recording(self, first: bool) -> Iterator[None]:
        inner, played = self, iter(self.lines)

        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            below = super(_SingleLevelFunction, cls).apply  # type: ignore[misc]
            if inner.busy or cls.__module__.partition(".")[0] == "torch":
                return below(*args, **kwargs)
            line = None if first else next(played, None)
            if line is not None and args[line.slot].shape == line.x0.shape:
                return line.at(args)
            inner.busy = True  # what it calls inside is its own affair
            try:
                out = below(*args, **kwargs)
                if first:
                    inner.lines.append(_line(below, args, out))
            finally:
                inner.busy = False
            return out

        with patched(_SingleLevelFunction, "apply", classmethod(apply)):
            yield


def _line(below: Callable[..., Any], args: tuple[Any, ...], out: Any) -> Line | None:
    """The line of a call with one differentiable input of its output's shape, if it is a surrogate."""
    slots = [n for n, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    if len(slots) != 1 or not isinstance(out, Tensor) or out.shape != args[slots[0]].shape:
        return None
    slot, gen = slots[0], torch.Generator().manual_seed(0)
    x = args[slot].detach().clone().requires_grad_()
    target = Target(lambda x: below(*args[:slot], x, *args[slot + 1 :]))
    target.held = []
    if not surrogate.find(target, (x,), gen):
        return None
    one, g = torch.ones_like(out), torch.randn(out.shape, generator=gen).to(out)
    (k,), (mixed,) = target.vjp((x,), (one,)), target.vjp((x,), (g,))
    if k is None or mixed is None or not torch.allclose(mixed, k * g, rtol=1e-4, atol=1e-6):
        return None
    return Line(slot, x.detach(), out.detach().clone(), k.detach())
