"""Numbers in the code of a function: bounds, thresholds and block sizes are among them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def constants(fn: Any) -> list[float]:
    """Numbers written in the function's own code: bounds, thresholds and block sizes are among them."""
    found: set[float] = set()
    for part in _code_of(fn):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        except (OSError, TypeError, SyntaxError, IndentationError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
                if isinstance(node.operand, ast.Constant):
                    found |= {-c for c in _number(node.operand)}
            elif isinstance(node, ast.Constant):
                found |= _number(node)
    return sorted((c for c in found if abs(c) < 1e4), key=lambda c: (abs(c), c))


def _number(node: ast.Constant) -> set[float]:
    return {float(node.value)} if type(node.value) in (int, float) else set()  # type: ignore[arg-type]


def _code_of(fn: Any) -> Iterator[Any]:
    """The function, the autograd.Function behind an `apply`, and Functions that its globals name."""
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, type):
        yield owner
    elif isinstance(fn, nn.Module):
        yield type(fn)
    elif isinstance(owner, nn.Module):
        yield type(owner)
    if hasattr(fn, "__code__"):
        yield fn
        names = fn.__code__.co_names
        spaces = {**getattr(fn, "__globals__", {})}
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            try:
                spaces[name] = cell.cell_contents
            except ValueError:
                continue
        for name in (*names, *fn.__code__.co_freevars):
            thing = spaces.get(name)
            ours = inspect.isfunction(thing) and not thing.__module__.startswith("torch")
            if ours or (isinstance(thing, type) and issubclass(thing, torch.autograd.Function)):
                yield thing
