"""What modules tell in their forward: who ran, under no_grad or cut off, and where NaN came in.

One global forward hook; modules that are not watched return at once. Sums of outputs are copied to the
samples, so that the first module with a non-finite output is known after the fact.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as hooks

from bugzoo.watcher.lifetime import first_node


@dataclass
class Layer:
    """How a module with parameters of its own was run."""

    name: str
    ref: weakref.ref[nn.Module]
    parameters: bool
    taped: int = 0  # forwards in training mode that made a graph
    untaped: int = 0  # the same under no_grad
    cut: int = 0  # its output went into another module detached


class Forwards:
    """Calls `ran(module, node, layer)` after each forward of a watched module; node may be None."""

    def __init__(self, listener: Any):
        self.listener = listener
        self.layers: dict[int, Layer] = {}
        self.taped = 0  # forwards with a graph since the last step
        self.curious = False  # look for detached outputs too
        self._storages: list[tuple[Any, int, Layer]] = []
        self._depth = 0
        self._handles: list[Any] = []

    def open(self) -> None:
        self._handles = [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._storages.clear()

    def know(self, name: str, module: nn.Module) -> None:
        layer = self.layers.get(id(module))
        if layer is None or layer.ref() is not module:
            own = any(p is not None for p in module._parameters.values())
            self.layers[id(module)] = Layer(name, weakref.ref(module), own)

    def forget(self) -> None:
        """A step is over."""
        self.taped = 0
        self._depth = 0
        self._storages.clear()

    def _enter(self, module: nn.Module, args: Any) -> None:
        if torch._C._are_functorch_transforms_active():
            return  # its tensors have no memory of their own to look at
        if self._depth == 0 and id(module) not in self.layers:
            self.listener.met(module)
        self._depth += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch._C._are_functorch_transforms_active():
            return
        self._depth = max(0, self._depth - 1)
        layer = self.layers.get(id(module))
        if layer is None or layer.ref() is not module:
            return
        node = first_node(output)
        if torch.is_grad_enabled():
            self.taped += node is not None
            layer.taped += node is not None and module.training
            if self.curious:
                self.listener.guard(self._follow, layer, args, output, node)
        elif module.training:
            layer.untaped += 1
        self.listener.ran(layer, node, output)

    def _follow(self, layer: Layer, args: Any, output: Any, node: Any) -> None:
        """Is an input the memory of an output that had a graph, without it?"""
        for t in args:
            if isinstance(t, Tensor) and not t.requires_grad and t.layout is torch.strided:
                here = t.untyped_storage()._cdata
                for ref, address, source in self._storages:
                    if address == here and not ref.expired():
                        source.cut += 1
        if node is not None and isinstance(output, Tensor) and output.layout is torch.strided:
            storage = output.untyped_storage()
            self._storages.append((StorageWeakRef(storage), storage._cdata, layer))
