"""What the user calls a thing: the variable, list entry or attribute that holds it.

    names = seen(frame);  names[id(model)]          'generator', 'models[0]', 'Trainer.net', 'net.body'

Outer frames come first: a variable of the script says more than the argument of a helper that is
called for each model in turn.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from bugzoo.watcher import lines

OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
MANY = 100  # entries of a list that are looked through


def seen(frame: FrameType | None = None) -> dict[int, str]:
    """id -> name, of the modules, optimizers and trained tensors that the user's frames can see."""
    names: dict[int, str] = {}
    frames = [f for f in _outward(frame or sys._getframe(1)) if _own(f.f_code.co_filename)]
    for collect in (_variables, _entries, _attributes):
        for at in reversed(frames):
            _scopes(at, lambda scope, collect=collect: collect(scope, names))  # type: ignore[misc]
    return names


def variable(thing: Any, frame: FrameType | None = None) -> str:
    """'the variable 'total' in train()', where a frame of the user's has one that is this thing."""
    found: list[str] = []

    def look(scope: dict[str, Any]) -> None:
        for name, value in list(scope.items()):
            if value is thing and not name.startswith("__"):
                found.append(name)

    for at in _outward(frame or sys._getframe(1)):
        if _own(at.f_code.co_filename):
            _scopes(at, look)
        if found:
            function = at.f_code.co_name
            return f"the variable '{found[0]}'" + f" in {function}()" * (function[0] != "<")
    return ""


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _own(file: str) -> bool:
    theirs = (lines.TORCH, OURS, lines.STDLIB, "<")
    return not file.startswith(theirs) and "site-packages" not in file


def _scopes(frame: FrameType, use: Callable[[dict[str, Any]], None]) -> None:
    """Calls `use` with the local and global variables; what the frame keeps of them is let go."""
    use(frame.f_globals)
    scope: Any = frame.f_locals
    if scope is not frame.f_globals:
        use(scope)
        if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            scope.clear()  # a copy, which would keep every local alive as long as the frame


def _meant(thing: Any) -> bool:
    if isinstance(thing, Tensor):
        return thing.requires_grad and thing.is_leaf
    return isinstance(thing, nn.Module | Optimizer)


def _variables(scope: dict[str, Any], names: dict[int, str]) -> None:
    for name, value in list(scope.items()):
        if name != "self" and not name.startswith("_") and _meant(value):
            names.setdefault(id(value), name)


def _entries(scope: dict[str, Any], names: dict[int, str]) -> None:
    for name, value in list(scope.items()):
        if name.startswith("_"):
            continue
        pairs: Any = ()
        if type(value) in (list, tuple) and len(value) <= MANY:
            pairs = enumerate(value)
        elif type(value) is dict and value is not scope and len(value) <= MANY:
            pairs = list(value.items())
        for key, item in pairs:
            if _meant(item):
                names.setdefault(id(item), f"{name}[{key!r}]")


def _attributes(scope: dict[str, Any], names: dict[int, str]) -> None:
    for name, value in list(scope.items()):
        if name.startswith("_"):
            continue
        if isinstance(value, nn.Module):
            for path, module in value.named_modules():
                if path:
                    names.setdefault(id(module), f"{names.get(id(value), name)}.{path}")
        elif type(getattr(value, "__dict__", None)) is dict and not inspect.ismodule(value):
            owner = type(value).__name__ if name == "self" else name
            for key, item in list(value.__dict__.items()):
                if _meant(item):
                    names.setdefault(id(item), f"{owner}.{key}")
