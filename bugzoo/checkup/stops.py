"""Explicit stop-gradients: what `.detach()` gave at the base point is held while the inputs move.

    y = x * w.detach()          f frozen: the second factor stays; then the gradient g w is right

Only calls in the function itself count, where gradients are recorded: inside the forward of a
custom Function everything is cut off anyway, and a detach there declares nothing. A buffer that the
forward writes into, an average for example, is cut off likewise: what was written stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bugzoo.checkup.inner import Inner
from bugzoo.checkup.patching import patched
from bugzoo.checkup.target import Target


class Stops(Target):
    """A target whose detached values are those of its first run."""

    def __init__(self, target: Target):
        super().__init__(self._held_still, seed=target.seed)
        self.inner = target.fn
        self.held = target.held
        self.whole = target.whole
        self.buffers = target.buffers
        self.tape: list[Tensor] = []
        self.written: list[Tensor] = []
        self.surrogates = Inner()
        self.recorded = False
        self.left = (
            False  # torch was left by way of NumPy, where a detach is needed and says nothing
        )

    def _held_still(self, *inputs: Any) -> Any:
        with self.surrogates.recording(not self.recorded), self._frozen(), _Written(self):
            return self.inner(*inputs)

    @property
    def words(self) -> str:
        """What is held, in words; '' for nothing."""
        detached = f"{len(self.tape)} detach()" if self.tape else ""
        written = f"{len(self.written)} writes into buffers" if self.written else ""
        count = self.surrogates.count
        inner = f"{count} Functions with a gradient by design" if count else ""
        return " and ".join(filter(None, (detached, written, inner)))

    def plain(self, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """With gradients recorded, or the calls could not be told from those in a Function."""
        with torch.enable_grad():
            return tuple(y.detach().clone() for y in self.forward(inputs))

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        base, numpy = Tensor.detach, Tensor.numpy
        played = iter(self.tape)

        def real(x: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():  # else a mode hands it back to the one below
                return base(x)

        def detach(x: Tensor) -> Tensor:
            if not torch.is_grad_enabled() or self.surrogates.busy:
                return real(x)
            if not self.recorded:
                self.tape.append(real(x).clone())
                return real(x)
            old = next(played, None)
            return old.clone() if old is not None and old.shape == x.shape else real(x)

        def left(x: Tensor, *args: Any, **options: Any) -> Any:
            self.left = True
            return numpy(x, *args, **options)

        try:
            with patched(Tensor, "numpy", left), patched(Tensor, "detach", detach):
                yield
        finally:
            self.recorded = True


class _Written(TorchFunctionMode):
    """Writes into buffers: recorded in the first run, repeated in the others."""

    def __init__(self, stops: Stops):
        super().__init__()
        self.stops = stops
        self.places = {id(b.tensor) for b in stops.buffers}
        self.first = not stops.recorded
        self.played = iter(stops.written)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if args and id(args[0]) in self.places and in_place(getattr(func, "__name__", "")):
            with torch._C.DisableTorchFunction(), torch.no_grad():
                if self.first:
                    self.stops.written.append(args[0].clone())
                else:
                    old = next(self.played, None)
                    if old is not None and old.shape == args[0].shape:
                        args[0].copy_(old)
        return out


TAGS = ("requires_grad_", "detach_", "share_memory_", "_set_grad_enabled")
WRITES = ("__setitem__", "__isub__", "__iadd__", "__imul__", "__itruediv__")


def in_place(name: str) -> bool:
    """Does an operation of this name write into its first argument, by torch's naming rule?"""
    plain = name.endswith("_") and not name.endswith("__") and name not in TAGS
    return plain or name in WRITES
