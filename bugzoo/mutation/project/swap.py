"""Mutated code in the place of the live code, in this process.

The new class statement is executed beside the module, never in it. Each function of the live class
then gets the new `__code__`, so that whoever holds the class, the function or a bound `apply` runs the
new code; what is no plain function with the same free variables is set on the live class.
"""

import ast
import linecache
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import torch

_KEPT = {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__"}
_KEPT |= {"__static_attributes__", "__qualname__", "_backward_cls"}


class Unswappable(Exception):
    """The live object is not what its source says: it cannot be given other code."""


def living(path: str) -> list[types.ModuleType]:
    """The imported modules that were made from this file, under whatever names."""
    return [
        m
        for m in list(sys.modules.values())
        if isinstance(m, types.ModuleType)
        and isinstance(getattr(m, "__file__", None), str)
        and os.path.realpath(m.__file__ or "") == path
    ]


def install(
    module: types.ModuleType,
    name: str,
    code: str,
    line: int,
    edit: Callable[[Any], None] = lambda statement: None,
) -> None:
    """Give `module.name` the code of a class or function statement that begins at `line` of its file.

    `edit` may change the statement's tree before it is compiled.
    """
    live = getattr(module, name, None)
    module.__dict__.setdefault("torch", torch)  # an operator may write torch.something
    made = _executed(module, name, code, line, edit)
    if isinstance(made, type) and isinstance(live, type):
        _class(live, made)
        return
    old, new = _function(live, name), _function(made, name)
    if old is None or new is None or not _recoded(old, new):
        raise Unswappable(f"{name} is a {type(live).__name__}, not what its source says")


def _executed(
    module: types.ModuleType, name: str, code: str, line: int, edit: Callable[[Any], None]
) -> Any:
    """The object that the statement makes: same globals, other namespace, no decorators of a class."""
    text = "\n" * (line - 1) + code
    tree = ast.parse(text)
    statement: Any = tree.body[0]
    if isinstance(statement, ast.ClassDef):
        statement.decorator_list = []
    edit(statement)
    key = f"<mutated {module.__name__}>"
    linecache.cache[key] = (len(text), None, text.splitlines(keepends=True), key)
    space: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(tree), key, "exec"), module.__dict__, space)
    return space[name]


def _class(live: type, made: type) -> None:
    for name, new in list(vars(made).items()):
        old = vars(live).get(name)
        if name in _KEPT or old is new:
            continue
        before, after = _function(old, name), _function(new, name)
        alike = type(old) is type(new) and _depth(old) == _depth(new)
        if alike and before and after and _recoded(before, after):
            continue
        if after is None and not isinstance(new, type) and _same(old, new):
            continue
        if after is not None:
            _adopt(after, live)
        setattr(live, name, new)


def _recoded(old: types.FunctionType, new: types.FunctionType) -> bool:
    """Did `old` take the code of `new`? Not where the two may close over different things."""
    free = old.__code__.co_freevars
    if free != new.__code__.co_freevars or not set(free) <= {"__class__"}:
        return False
    old.__code__ = new.__code__
    old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
    return True


def _adopt(function: types.FunctionType, live: type) -> None:
    """`super()` without arguments finds the class in a cell: the live one shall be there."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        if name == "__class__":
            cell.cell_contents = live


def _function(thing: Any, name: str) -> types.FunctionType | None:
    """The function called `name` under staticmethod, classmethod, property and decorators."""
    for _ in range(20):
        if isinstance(thing, property):
            thing = thing.fget
        elif isinstance(thing, staticmethod | classmethod):
            thing = thing.__func__
        elif hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        elif isinstance(thing, types.FunctionType) and thing.__code__.co_name != name:
            held = [cell.cell_contents for cell in thing.__closure__ or ()]
            inner = [f for f in held if isinstance(f, types.FunctionType)]
            if not inner:
                break
            thing = inner[0]
        else:
            break
    return thing if isinstance(thing, types.FunctionType) else None


def _depth(thing: Any) -> int:
    """How many decorators lie around the plain function."""
    if isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    depth = 0
    while hasattr(thing, "__wrapped__") and depth < 20:
        thing, depth = thing.__wrapped__, depth + 1
    return depth


def _same(old: Any, new: Any) -> bool:
    try:
        return bool(old == new)
    except Exception:
        return False
