"""Explicit stop-gradients: what `.detach()` gave at the base point is held while the inputs move.

    y = x * w.detach()          f frozen: the second factor stays; then the gradient g w is right

Only calls in the function itself count, where gradients are recorded: inside the forward of a
custom Function everything is cut off anyway, and a detach there declares nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bugzoo.checkup.target import Target


class Stops(Target):
    """A target whose detached values are those of its first run."""

    def __init__(self, target: Target):
        super().__init__(self._held_still, seed=target.seed)
        self.inner = target.fn
        self.held = target.held
        self.whole = target.whole
        self.tape: list[Tensor] = []
        self.recorded = False
        self.left = (
            False  # torch was left by way of NumPy, where a detach is needed and says nothing
        )

    def _held_still(self, *inputs: Any) -> Any:
        with self._frozen():
            return self.inner(*inputs)

    def plain(self, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """With gradients recorded, or the calls could not be told from those in a Function."""
        with torch.enable_grad():
            return tuple(y.detach().clone() for y in self.forward(inputs))

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        real, numpy = Tensor.detach, Tensor.numpy
        played = iter(self.tape)

        def detach(x: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                return real(x)
            if not self.recorded:
                self.tape.append(real(x).clone())
                return real(x)
            old = next(played, None)
            return old.clone() if old is not None and old.shape == x.shape else real(x)

        def left(x: Tensor, *args: Any, **options: Any) -> Any:
            self.left = True
            return numpy(x, *args, **options)

        Tensor.numpy = left  # type: ignore[assignment, method-assign]
        Tensor.detach = detach  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            Tensor.numpy = numpy  # type: ignore[method-assign]
            Tensor.detach = real  # type: ignore[method-assign]
            self.recorded = True
