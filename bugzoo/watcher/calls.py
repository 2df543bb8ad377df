"""The user's own calls, seen through a TorchFunctionMode: backward, clearing, clipping, reading .grad.

A mode is torch's hook on its functions. This one looks up the function in a small table and passes
on; for the rest it costs a dictionary access. It adds the lines, and what leaves no trace in a
gradient that is soon cleared: a clip after the step, a gradient that the user reads.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from bugzoo.watcher import lines

CLIP = "utils/clip_grad.py"
SCALER = "amp/grad_scaler.py"
DIVISIONS = ("div", "true_divide", "divide", "__rdiv__")
STEEP = (  # each has an infinite slope somewhere, and a finite value there or beside it
    "sqrt", "rsqrt", "log", "log2", "log10", "log1p", "reciprocal", "pow", "norm", "vector_norm", "exp",
    "acos", "arccos", "asin", "arcsin", "atanh", "acosh", "std", "prod", *DIVISIONS,
)  # fmt: skip
REDUCED = 8  # reductions of one loss that are looked at
_hooked = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda tracing: True)


class Calls(TorchFunctionMode):
    """Tells `listener` what the user calls:

    .backward(loss, line)     before it runs
    .cleared(line)            a .grad is set to None or zeroed
    .clipped(line, written, done)   before and after torch's clipping wrote into gradients, or a clamp_ did
    .read(t, frame)           .grad is read outside of torch
    .reported(t)              the user reads the number of a tensor; told while `curious`
    .made(out, frame)         a function returned this tensor; told while `curious`
    .unclipped(p, frame)      clipping found no gradient in this parameter
    .scaled(out, by)          a GradScaler has scaled this loss
    .steep(out, name, frame)  the result of a function whose slope is infinite somewhere
    .hooked()                 hooks on saved tensors are in force; asked while `curious`
    """

    def __init__(self, listener: Any):
        super().__init__()
        self.listener = listener
        self.curious = False
        grad: Any = torch.Tensor.grad
        self.table: dict[Any, Callable[..., Any]] = {
            torch.Tensor.backward: self._backward,
            torch.autograd.backward: self._backward,
            grad.__get__: self._get,
            grad.__set__: self._set,
            torch.Tensor.item: self._item,
            torch.Tensor.__float__: self._item,
            torch.Tensor.zero_: self._zero,
            torch._foreach_zero_: self._zero,
            torch._foreach_mul_: self._scaled,
            torch.Tensor.mul_: self._scaled,
            torch.Tensor.clamp_: self._scaled,
            torch._foreach_clamp_min_: self._scaled,
            torch._foreach_clamp_max_: self._scaled,
        }
        self.after: dict[Any, Callable[..., Any]] = {torch.Tensor.mul: self._multiplied}
        for name in STEEP:
            for owner in (torch, torch.Tensor, torch.linalg):
                if hasattr(owner, name):
                    self.after[getattr(owner, name)] = functools.partial(self._steep, name)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if self.curious and _hooked(True) is not None:
            self.listener.hooked()
        look = self.table.get(func)
        if look is not None:
            return look(func, args, kwargs or {}, sys._getframe(1))
        out = func(*args, **(kwargs or {}))
        after = self.after.get(func)
        if after is not None and isinstance(out, Tensor):
            after(out, args, sys._getframe(1))
        if self.curious and isinstance(out, Tensor):
            self.listener.made(out, sys._getframe(1))
        return out

    def _multiplied(self, out: Tensor, args: Any, frame: Any) -> None:
        if frame.f_code.co_filename.endswith(SCALER):
            self.listener.scaled(out, args[1])

    def _steep(self, name: str, out: Tensor, args: Any, frame: Any) -> None:
        other = args[1] if len(args) > 1 else None
        smooth = (name in DIVISIONS and not isinstance(other, Tensor)) or (
            name == "pow" and isinstance(other, int | float) and other >= 1
        )
        if not smooth and out.grad_fn is not None and out.is_floating_point():
            self.listener.steep(out, name, frame)

    def _backward(self, func: Any, args: Any, kwargs: Any, frame: Any) -> Any:
        losses = args[0] if args else kwargs.get("tensors", ())
        for loss in (losses,) if isinstance(losses, Tensor) else tuple(losses)[:1]:
            self.listener.backward(loss, lines.caller(frame))
        return func(*args, **kwargs)

    def _item(self, func: Any, args: Any, kwargs: Any, frame: Any) -> Any:
        if self.curious and not lines.from_torch(frame):
            self.listener.reported(args[0])
        return func(*args, **kwargs)

    def _get(self, func: Any, args: Any, kwargs: Any, frame: Any) -> Any:
        if lines.from_torch(frame):
            g = func(*args, **kwargs)
            if g is None and frame.f_code.co_filename.endswith(CLIP):
                self.listener.unclipped(args[0], frame)
            return g
        self.listener.read(args[0], frame)
        return func(*args, **kwargs)

    def _set(self, func: Any, args: Any, kwargs: Any, frame: Any) -> Any:
        done = func(*args, **kwargs)
        if args[1] is None:
            self.listener.cleared(frame)
        return done

    def _zero(self, func: Any, args: Any, kwargs: Any, frame: Any) -> Any:
        done = func(*args, **kwargs)
        if lines.from_torch(frame):
            self.listener.cleared(frame)
        return done

    def _scaled(self, func: Any, args: Any, kwargs: Any, frame: Any) -> Any:
        clip = lines.within(frame, CLIP)
        by_hand = func is torch.Tensor.clamp_ and not lines.from_torch(frame)
        if not (clip or by_hand):
            return func(*args, **kwargs)
        self.listener.clipped(frame, args[0], False)
        done = func(*args, **kwargs)
        self.listener.clipped(frame, args[0], True)
        return done


def reductions(loss: Tensor) -> list[tuple[Any, str]]:
    """The nodes that make numbers of tensors, from the loss down through arithmetic on numbers alone."""
    found: list[tuple[Any, str]] = []
    near = [loss.grad_fn] if loss.numel() == 1 and loss.grad_fn is not None else []
    seen = set(near)
    steps = 0
    while near and len(found) < REDUCED and steps < 64:
        node, steps = near.pop(), steps + 1
        above = [n for n, _ in node.next_functions if n is not None]
        numbers = [n for n in above if _numeric(n)]
        if len(numbers) < len(above) or not above:
            found.append((node, node.name()))
        for n in numbers:
            if n not in seen:
                seen.add(n)
                near.append(n)
    return found


def carries_scale(loss: Tensor) -> Tensor | None:
    """The scale, where a GradScaler has scaled this loss or a term of it."""
    near: list[Any] = [loss.grad_fn] if loss.grad_fn is not None else []
    seen = set(near)
    while near and len(seen) < 64:
        node = near.pop()
        if "bugzoo.scaled" in node.metadata:
            scale: Tensor = node.metadata["bugzoo.scaled"]
            return scale
        for n, _ in node.next_functions:
            if n is not None and n not in seen and _numeric(n):
                seen.add(n)
                near.append(n)
    return None


def leaves(node: Any) -> list[Tensor]:
    """The leaves that a backward from this node would reach."""
    found: list[Tensor] = []
    seen, near = {node}, [node]
    while near and len(seen) < 100_000:
        node = near.pop()
        if hasattr(node, "variable"):
            found.append(node.variable)
        for above, _ in node.next_functions:
            if above is not None and above not in seen:
                seen.add(above)
                near.append(above)
    return found


def _numeric(node: Any) -> bool:
    """Does this node put out one number?"""
    shapes = getattr(node, "_input_metadata", ())
    return bool(shapes) and all(torch.Size(m.shape).numel() == 1 for m in shapes)


def rows(node: Any) -> float | None:
    """Over how many elements a mean was taken; targets for a loss. None for a sum, or where unknown."""
    try:
        name = node.name()
        if name.startswith("NllLoss"):
            weight = node._saved_total_weight
            return float(weight) if node._saved_reduction == 1 and weight.numel() else None
        if name.startswith("MeanBackward0"):
            return float(torch.Size(node._saved_self_sym_sizes).numel())
        if getattr(node, "_saved_reduction", 0) == 1:
            return float(node._saved_self.numel())
    except (RuntimeError, AttributeError):
        return None
    return None
