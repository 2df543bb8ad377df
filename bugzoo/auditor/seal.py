"""SEAL: what a forward saved is intact when the backward reads it, also after a write that counts no version.

A copy is taken when autograd packs a tensor and compared when it unpacks it. Hooks on saved tensors
switch off autograd's own test of versions, so it is made here and raises as autograd would. `pack`
hands out a detached alias: the tensor itself would be a reference cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from bugzoo.auditor import graph
from bugzoo.auditor.listener import Listener
from bugzoo.auditor.places import place, same
from bugzoo.auditor.session import Session
from bugzoo.finding import Finding

NORMS = ("batch_norm", "instance_norm")


class Sealed:
    """One saved tensor: an alias of it, a copy, and the number of writes so far."""

    __slots__ = ("alias", "copy", "version")

    def __init__(self, alias: Tensor, copy: Tensor, version: int):
        self.alias, self.copy, self.version = alias, copy, version


class Seal(Listener):
    """`changed` holds what was written into between a forward and its backward."""

    def __init__(self) -> None:
        self.changed: dict[str, tuple[str, str, str]] = {}  # node -> where, words, line
        self.exempt: set[int] = set()  # memory of running statistics: their own op updates them
        self.writers: dict[int, str] = {}  # memory -> the user's line that last wrote into it
        self.copies: dict[tuple[Any, ...], Tensor] = {}

    def attach(self, session: Session) -> None:
        super().attach(session)
        self.hooks: Any = saved_tensors_hooks(self._pack, self._unpack)
        self.hooks.__enter__()
        self.buffers = nn.modules.module.register_module_forward_pre_hook(self._module)

    def close(self) -> None:
        self.hooks.__exit__(None, None, None)
        self.buffers.remove()
        self.copies.clear()

    def _module(self, module: nn.Module, args: Any) -> None:
        for b in module._buffers.values():
            if b is not None:
                self.exempt.add(place(b))

    def before_op(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(n in name for n in NORMS):
            for t in (*args[1:], *kwargs.values()):
                if isinstance(t, Tensor) and not t.requires_grad:
                    self.exempt.add(place(t))
        elif name in ("numpy", "__array__") and args:
            self.writers.setdefault(place(args[0]), graph.line())

    def before_write(self, targets: list[Tensor]) -> None:
        line = graph.line()
        for t in targets:
            self.writers[place(t)] = line

    def before_backward(self, call: Any) -> None:
        if call.own:
            self.copies.clear()

    def _pack(self, t: Tensor) -> Any:
        if t.layout != torch.strided or not t.numel() or place(t) in self.exempt:
            return t.detach()
        alias = t.detach()
        key = (t.data_ptr(), t._version, tuple(t.shape), t.stride(), t.dtype)
        copy = self.copies.get(key)
        if copy is None or not same(copy, alias):
            copy = alias.clone()
            self.copies[key] = copy
        return Sealed(alias, copy, t._version)

    def _unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        alias = packed.alias
        if place(alias) in self.exempt:
            return alias
        if alias._version != packed.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace "
                f"operation: a {graph.shape(alias)} tensor is at version {alias._version}; expected "
                f"version {packed.version} instead"
            )
        if not same(alias, packed.copy):
            self._note(alias, packed.copy)
        return alias

    def _note(self, now: Tensor, then: Tensor) -> None:
        node = torch._C._current_autograd_node()
        name = node.name() if node is not None else "a node"
        differ = (now != then).reshape(-1)
        n = int(differ.nonzero()[0])
        words = (
            f"{int(differ.sum())} of {now.numel()} elements, [{n}] was {then.reshape(-1)[n].item():.6g}, "
            f"is {now.reshape(-1)[n].item():.6g}"
        )
        step = str(len(self.session.steps) + 1) if self.session else "1"
        self.changed.setdefault(name, (step, words, self.writers.get(place(now), "")))

    def findings(self) -> Iterator[Finding]:
        for name, (step, words, line) in list(self.changed.items())[:2]:
            yield Finding(
                "side_effect", f"a tensor that {name} saved is changed before the backward reads it",
                words, step=int(step), line=line,
                cause="a write through .data, NumPy or a shared buffer, which autograd does not count",
            )  # fmt: skip
