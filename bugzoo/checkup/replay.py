"""A Function's own forward, run under autograd: PyTorch's gradient of the very same computation.

    apply(x) = forward(ctx, x) without a node of its own, so every operation in it is recorded

The forward may hold what autograd does not see (.data, detach, NumPy), so a disagreement is only a
suspicion: it shows where to look, and difference quotients decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import function as engine

from bugzoo.checkup.patching import patched
from bugzoo.checkup.target import Rejected, Target

Grads = list[Tensor | None]


class Context:
    """Takes what a forward says to its ctx, and keeps nothing alive but its attributes."""

    def __init__(self, needs: tuple[bool, ...]):
        self.needs_input_grad = needs

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        pass

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        pass

    def set_materialize_grads(self, value: bool) -> None:
        pass


def gradients(
    target: Target, inputs: tuple[Any, ...], g: tuple[Tensor | None, ...]
) -> Grads | None:
    """Gradients of the leaves by autograd of the Functions' forwards; None without a Function."""
    with opened() as met:
        try:
            return target.vjp(inputs, g) if _shapes_match(target, inputs, g, met) else None
        except (Rejected, RuntimeError, TypeError, ValueError, AttributeError, AssertionError):
            return None


def _shapes_match(target: Target, inputs: tuple, g: tuple, met: list[type]) -> bool:
    y = target.forward(inputs)
    return bool(met) and [t.shape for t in y if t is not None] == [
        b.shape if b is not None else t.shape for t, b in zip(y, g, strict=True)
    ]


def names(target: Target, inputs: tuple[Any, ...]) -> list[str]:
    """The custom Functions that a call goes through."""
    return list(dict.fromkeys(f"{m.__module__}.{m.__qualname__}" for m in calls(target, inputs)))


def calls(target: Target, inputs: tuple[Any, ...]) -> list[type]:
    """The same as classes, one for each call of them."""
    with opened() as met:
        try:
            target.forward(inputs)
        except Rejected:
            return []
    return met


@contextmanager
def opened() -> Iterator[list[type]]:
    """Custom Functions run as plain code in the block; yields the classes that were met."""
    met: list[type] = []
    base = getattr(engine, "_SingleLevelFunction", None)
    if base is None:
        yield met
        return

    def apply(cls: Any, *args: Any) -> Any:
        if cls.__module__.startswith("torch."):
            return torch._C._FunctionBase.__dict__["apply"].__get__(None, cls)(*args)
        met.append(cls)
        ctx = Context(tuple(isinstance(a, Tensor) and a.requires_grad for a in args))
        if engine._is_setup_context_defined(cls.setup_context):
            out = cls.forward(*args)
            cls.setup_context(ctx, args, out)
            return out
        return cls.forward(ctx, *args)

    with patched(base, "apply", classmethod(apply)):
        yield met
