"""Is what autograd saved still the same when its backward reads it? Asked on a few steps only.

    seal = sums of the saved tensor, in float64, taken after the module's forward

Nodes show what they saved as attributes, and their prehook runs right before they use it. No hook on
saved tensors is set: that would switch off autograd's own version check, which stays the first to
speak. What is caught is what it cannot see: writes through `.data`, NumPy, or an attribute of ctx.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from bugzoo.watcher import samples

MARK = "bugzoo.sealed"
LARGE = 1 << 14  # elements from which one sum and a sample must do: a close look stays cheap
Sums = tuple[int, float, float]


class Seals:
    """`found(node name, attribute, before, now)` is called for each saved tensor that was changed."""

    def __init__(self, found: Callable[[str, str, float, float], None]):
        self.found = found
        self.handles: list[Any] = []
        self.exempt: set[int] = set()  # addresses of buffers, which their own operation updates

    def seal(self, node: Any) -> None:
        """This node and those above it that have no seal yet."""
        near = [node] if node is not None else []
        while near:
            node = near.pop()
            if MARK in node.metadata or node.name().endswith("AccumulateGrad"):
                continue
            node.metadata[MARK] = True
            sums = {name: _sums(t) for name, t in saved(node) if t.data_ptr() not in self.exempt}
            if sums:
                self.handles.append(node.register_prehook(self._check(sums)))
            near += [above for above, _ in node.next_functions if above is not None]

    def _check(self, sums: dict[str, Sums]) -> Callable[[Any], None]:
        def look(_: Any) -> None:  # must not hold the node: its hooks would be a cycle
            node = torch._C._current_autograd_node()
            for name, t in saved(node):
                then = sums.get(name)
                if then is not None and t.numel() == then[0] and (now := _sums(t)) != then:
                    self.found(node.name(), name, then[1], now[1])

        return look

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


def saved(node: Any) -> Iterator[tuple[str, Tensor]]:
    """(attribute, tensor) for everything that a node keeps for its backward and still can show."""
    for name in dir(type(node)):
        if name.startswith("_saved_") and "running" not in name:
            try:
                t = getattr(node, name)
            except (
                RuntimeError,
                AttributeError,
            ):  # freed, or written in place: autograd says so itself
                continue
            for k, part in enumerate(t if isinstance(t, list | tuple) else (t,)):
                if _fit(part):
                    yield f"{name.removeprefix('_saved_')}{k or ''}", part
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        kept: tuple[Any, ...] = ()
        with contextlib.suppress(RuntimeError):
            kept = node.saved_tensors
        for k, part in enumerate(kept):
            if _fit(part):
                yield f"saved tensor {k}", part
        for name, part in list(vars(node).items()):
            if _fit(part):
                yield f"ctx.{name}", part


def _fit(t: Any) -> bool:
    return (
        isinstance(t, Tensor)
        and not torch._C._functorch.is_functorch_wrapped_tensor(t)
        and t.layout is torch.strided
        and t.numel() > 0
        and t.device.type != "meta"
        and not t.is_quantized
        and not t.is_complex()
    )


def _sums(t: Tensor) -> Sums:
    """Two sums that a change of any element changes, but for coincidence; NaN counts as a number."""
    with torch.no_grad():
        if t.numel() > LARGE and t.is_floating_point():
            rough = t.detach().sum(dtype=None if t.dtype.itemsize > 2 else torch.float32)
            few = samples.pick(t).double().nan_to_num(nan=0.123456789).sum()
            return t.numel(), float(rough.nan_to_num()), float(few)
        flat = (
            t.detach().double().nan_to_num(nan=0.123456789, posinf=1e300, neginf=-1e300).reshape(-1)
        )
        ramp = torch.arange(1, flat.numel() + 1, dtype=flat.dtype, device=flat.device)
        return t.numel(), float(flat.sum()), float((flat * ramp.sin_()).sum())
