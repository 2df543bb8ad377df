"""Reading a graph: its leaves, its nodes, the user's line, the names of parameters."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from bugzoo.checkup.graph import nodes

_TORCH = os.path.dirname(torch.__file__)
_HERE = os.path.dirname(__file__)
_SKIPPED = (_TORCH, _HERE, "<frozen", "<string>")


def walk(outputs: Iterable[Any]) -> list[Any]:
    """All nodes below `outputs`, in an order that is the same for the same program."""
    return list(nodes(map(node, outputs)))


def node(y: Any) -> Any:
    """The node that made `y`; for a leaf the node that collects its gradient."""
    if not isinstance(y, Tensor):
        return y.node  # a GradientEdge
    if y.grad_fn is not None:
        return y.grad_fn
    return torch.autograd.graph.get_gradient_edge(y).node if y.requires_grad else None


def leaves(found: Iterable[Any]) -> list[tuple[Tensor, Any]]:
    """The leaf tensors among the nodes, with the node that collects each one's gradient."""
    return [(n.variable, n) for n in found if hasattr(n, "variable")]


def frame() -> FrameType | None:
    """The innermost frame that belongs to the user."""
    at: FrameType | None = sys._getframe(1)
    while at is not None and at.f_code.co_filename.startswith(_SKIPPED):
        at = at.f_back
    return at


def line() -> str:
    """'train.py:41', the user's line that is being executed."""
    at = frame()
    return f"{os.path.basename(at.f_code.co_filename)}:{at.f_lineno}" if at else ""


def held(called: Mapping[int, str] | None = None) -> dict[int, str]:
    """Names of all parameters that a living module holds, by id: 'encoder.0.weight', 'G.0.weight'.

    `called`: what the user calls modules, by id; where there are several and no name is known, their
    class must do.
    """
    modules = [m for m in gc.get_objects() if issubclass(type(m), nn.Module)]
    inner = {id(c) for m in modules for c in m._modules.values() if c is not None}
    names: dict[int, str] = {}
    roots = [m for m in modules if id(m) not in inner]
    single = sum(any(True for _ in m.parameters()) for m in roots) < 2
    kinds = Counter(type(m).__name__ for m in roots)
    met: Counter[str] = Counter()
    for root in roots:
        kind = type(root).__name__
        title = (called or {}).get(id(root), "")
        if not title:
            title = f"{kind} {met[kind] + 1}" if kinds[kind] > 1 else kind
        met[kind] += 1
        try:
            for name, p in root.named_parameters():
                names.setdefault(id(p), name if single else f"{title}.{name}")
        except Exception:  # a module that is being built, or is no real one
            continue
    return names


def variable_name(p: Tensor) -> str:
    """The name of a local or global variable, or of a list entry, of the user's that is `p`."""
    at = frame()
    while at is not None:
        for scope in (at.f_locals, at.f_globals):
            for name, value in list(scope.items()):
                if value is p:
                    return name
                if isinstance(value, list | tuple) and len(value) < 100:
                    for n, item in enumerate(value):
                        if item is p:
                            return f"{name}[{n}]"
                if isinstance(value, dict) and len(value) < 100:
                    for key, item in list(value.items()):
                        if item is p:
                            return f"{name}[{key!r}]"
        at = at.f_back
    return ""


def attribute_name(p: Tensor) -> str:
    """'Net.gain', where `p` is a plain attribute of a module."""
    for module in gc.get_objects():
        if issubclass(type(module), nn.Module):
            for name, value in list(vars(module).items()):
                if value is p:
                    return f"{type(module).__name__}.{name}"
    return ""


def shape(t: Tensor) -> str:
    return "x".join(map(str, t.shape)) or "scalar"


def title(cls: Any) -> str:
    """A class by name: a script that is run again makes another one."""
    return f"{cls.__module__}.{cls.__qualname__}"
