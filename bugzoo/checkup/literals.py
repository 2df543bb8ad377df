"""Numbers in the code of a function: bounds, thresholds and block sizes are among them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def words(fn: Any) -> list[str]:
    """Words that the code compares something with: `reduction == "sum"`, `mode in ("a", "b")`."""
    found: dict[str, None] = {}
    for tree in _trees(fn):
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                told = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
                found |= dict.fromkeys(word for word in told if isinstance(word, str))
    return list(found)


def _trees(fn: Any) -> Iterator[ast.AST]:
    for part in _code_of(fn):
        try:
            yield ast.parse(textwrap.dedent(inspect.getsource(part)))
        except (OSError, TypeError, SyntaxError, IndentationError):
            continue


def constants(fn: Any) -> list[float]:
    """Numbers written in the function's own code: bounds, thresholds and block sizes are among them."""
    found: set[float] = set()
    for tree in _trees(fn):
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
    while hasattr(fn, "func"):  # functools.partial
        fn = fn.func
    owner = getattr(fn, "__self__", None)
    if isinstance(owner, type):
        yield from _with_bases(owner)
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
            if ours:
                yield thing
            elif isinstance(thing, type) and issubclass(thing, torch.autograd.Function):
                yield from _with_bases(thing)


def _with_bases(kind: type) -> Iterator[type]:
    """A class and the Functions that it inherits from: its forward may stand in one of them."""
    yield kind
    for base in kind.__mro__[1:]:
        if issubclass(base, torch.autograd.Function) and not base.__module__.startswith("torch."):
            yield base
