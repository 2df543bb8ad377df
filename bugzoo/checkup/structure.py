"""Inputs as programs have them: dicts, dataclasses, nested lists, keywords; made into a plain row and back.

    fn(batch, reduction="mean")   ->   call(*leaves)     leaves: batch['x'], batch['y'], reduction

So each tensor, wherever it stands, is varied like an argument of its own, and is told by the name that it
has in the program. Flags, words and integers that a function has by default are varied too.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

DEPTH = 8


@dataclasses.dataclass
class Call:
    """`func` on a row of leaves; looks like a functools.partial, so that what `func` holds is found."""

    func: Callable[..., Any]
    given: tuple[Any, ...]
    by_name: dict[str, Any]
    args: tuple[Any, ...] = ()
    keywords: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, *leaves: Any) -> Any:
        row = iter(leaves)
        given = [_closed(x, row) for x in self.given]
        return self.func(*given, **{k: _closed(x, row) for k, x in self.by_name.items()})


Names = dict[int, str]


def opened(fn: Callable[..., Any], made: Any) -> tuple[Callable[..., Any], tuple[Any, ...], Names]:
    """(function, row of inputs, names): fn itself and no names where the inputs are a plain row."""
    signature = _signature(fn)
    given, by_name = _arguments(signature, made)
    defaults = _defaults(fn, signature, len(given), by_name)
    if not by_name and not defaults and not any(map(_holds, given)):
        return fn, given, {}
    call = Call(fn, given, {**by_name, **defaults})
    names = _names(signature, len(given))
    row = []
    for n, x in enumerate(given):
        row += list(_leaves(x, names[n] if _parts(x) is not None else f"input {n}"))
    row += [leaf for name, x in call.by_name.items() for leaf in _leaves(x, name)]
    return call, tuple(x for _, x in row), {n: name for n, (name, _) in enumerate(row)}


def told(text: str, names: dict[int, str]) -> str:
    """'input 2' as the program calls it."""
    return re.sub(r"\binput (\d+)\b", lambda m: names.get(int(m[1]), m[0]), text) if names else text


def _signature(fn: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn)
    except (TypeError, ValueError):
        return None


def _arguments(
    signature: inspect.Signature | None, made: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """By place and by name: a dict whose keys are the parameters is keywords, and so is one at the end."""
    plain = isinstance(made, tuple | list) and not hasattr(made, "_fields")
    given = tuple(made) if plain else (made,)
    last = given[-1] if given else None
    if signature and isinstance(last, dict) and last and all(isinstance(k, str) for k in last):
        known = set(last) <= set(signature.parameters)
        if known and _binds(signature, given[:-1], last):
            return given[:-1], dict(last)
        if not _binds(signature, given, {}) and _binds(signature, given[:-1], last):
            return given[:-1], dict(last)
    return given, {}


def _binds(signature: inspect.Signature, given: tuple[Any, ...], by_name: dict[str, Any]) -> bool:
    try:
        signature.bind(*given, **by_name)
    except TypeError:
        return False
    return True


def _defaults(
    fn: Any, signature: inspect.Signature | None, taken: int, by_name: dict[str, Any]
) -> dict[str, Any]:
    """Words, flags and integers that the function has where the caller says nothing."""
    inner = fn
    while hasattr(inner, "func"):
        inner = inner.func
    if signature is None or not inspect.isfunction(inner):
        return {}
    if inner.__module__.partition(".")[0] == "torch":
        return {}
    return {
        name: p.default
        for n, (name, p) in enumerate(signature.parameters.items())
        if name not in by_name
        and (p.kind == p.KEYWORD_ONLY or (p.kind == p.POSITIONAL_OR_KEYWORD and n >= taken))
        and isinstance(p.default, bool | int | str)
    }


def _names(signature: inspect.Signature | None, count: int) -> list[str]:
    """What a function calls its arguments; 'input 0' where nothing is known."""
    known = [
        p.name
        for p in (signature.parameters.values() if signature else ())
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [known[n] if n < len(known) else f"input {n}" for n in range(count)]


def _holds(x: Any) -> bool:
    """A structure that must be opened: a flat list or tuple of tensors is an input as it is."""
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        return any(_parts(t) is not None for t in x)
    return _parts(x) is not None


def _parts(x: Any) -> list[tuple[str, Any]] | None:
    """The members of a structure, with what stands behind its name to reach them; None for a leaf."""
    if isinstance(x, Mapping):
        return [(f"[{k!r}]", v) for k, v in x.items()]
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return [(f".{k}", v) for k, v in zip(x._fields, x, strict=True)]
    if isinstance(x, list | tuple):
        return [(f"[{n}]", v) for n, v in enumerate(x)]
    if dataclasses.is_dataclass(x) and not isinstance(x, type | nn.Module):
        return [(f".{f.name}", getattr(x, f.name)) for f in dataclasses.fields(x)]
    return None


def _leaves(x: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    parts = None if isinstance(x, Tensor | nn.Module) or depth > DEPTH else _parts(x)
    if parts is None or (isinstance(x, list | tuple) and not parts):
        yield name, x
        return
    for end, part in parts:
        yield from _leaves(part, name + end, depth + 1)


def _closed(x: Any, row: Iterator[Any], depth: int = 0) -> Any:
    """The structure x with the next leaves of the row in it."""
    parts = None if isinstance(x, Tensor | nn.Module) or depth > DEPTH else _parts(x)
    if parts is None or (isinstance(x, list | tuple) and not parts):
        return next(row)
    values = [_closed(part, row, depth + 1) for _, part in parts]
    if isinstance(x, Mapping):
        made = copy.copy(x)
        for key, value in zip(x, values, strict=True):
            made[key] = value  # type: ignore[index]
        return made
    if isinstance(x, list | tuple):
        return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
    made = copy.copy(x)
    for f, value in zip(dataclasses.fields(x), values, strict=True):
        object.__setattr__(made, f.name, value)  # frozen ones too, and no __post_init__
    return made
