"""A function of a specimen's file without a trace of that file, for a subject to carry.

What draws the inputs, the reference and the seat of an operation are functions that the specimen's
author wrote. They know their file, and through their globals all the twins and labels in it. The
copy made here does the same, under a neutral name, with only those globals that it uses.
"""

import builtins
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any, TypeVar

from bugzoo.model import Case

NAME, FILE, MODULE = "given", "<given>", "subject"
SHARED = {"bugzoo.cases", "bugzoo.seats"}  # makers whose closures hold functions of the author

F = TypeVar("F", bound=Callable[..., Any] | None)


@lru_cache(maxsize=4096)
def anonymous(function: F, module: str) -> F:
    """`function` with everything in it that was written in `module` rebuilt under neutral names."""
    return _copy(function, SHARED | {module}, {})


def _copy(thing: Any, modules: set[str], done: dict[int, Any]) -> Any:
    """`thing`, or a copy of it where a function of `modules` is inside."""
    if id(thing) in done:
        return done[id(thing)]
    if isinstance(thing, FunctionType) and thing.__module__ in modules:
        return _function(thing, modules, done)
    if isinstance(thing, Case):
        return replace(thing, name=NAME, draw=_copy(thing.draw, modules, done))
    if type(thing) in (tuple, list, set, frozenset):
        return type(thing)(_copy(t, modules, done) for t in thing)
    if type(thing) is dict:
        return {k: _copy(v, modules, done) for k, v in thing.items()}
    return thing


def _function(old: FunctionType, modules: set[str], done: dict[int, Any]) -> FunctionType:
    space: dict[str, Any] = {"__name__": MODULE, "__builtins__": builtins}
    cells = tuple(CellType() for _ in old.__closure__ or ())
    made = FunctionType(_code(old.__code__), space, NAME, None, cells)
    done[id(old)] = made  # before its parts: a function may use itself
    for name in _names(old.__code__) & old.__globals__.keys():
        space[name] = _copy(old.__globals__[name], modules, done)
    for cell, kept in zip(cells, old.__closure__ or (), strict=True):
        cell.cell_contents = _copy(kept.cell_contents, modules, done)
    made.__defaults__ = _copy(old.__defaults__, modules, done)
    made.__kwdefaults__ = _copy(old.__kwdefaults__, modules, done)
    made.__qualname__ = NAME
    return made


def _code(code: CodeType) -> CodeType:
    inner = tuple(_code(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_filename=FILE, co_name=NAME, co_qualname=NAME, co_consts=inner)


def _names(code: CodeType) -> set[str]:
    """Global names that the code uses, and those of the functions defined in it."""
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)
