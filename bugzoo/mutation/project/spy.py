"""What the user's own tests hand to the target: the first few calls of each kind, copied.

It sits in the code itself: the first statement of each function of the target tells the spy. So
nothing is wrapped, and a bound `apply` that somebody kept is seen too.
"""

import ast
import inspect
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from bugzoo.mutation.project import swap
from bugzoo.mutation.project.call import Call

NAME = "__bugzoo_spy__"
MOST = 6  # calls that are kept, with different shapes or arguments
LARGEST = 1 << 16  # elements of all tensors of one call


class Spy:
    """`reached`: has the target run since this was last set to False? `calls`: what it was given."""

    def __init__(self) -> None:
        self.reached = False
        self.calls: list[Call] = []
        self.made: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._kinds: dict[str, int] = {}

    def hit(self) -> None:
        self.reached = True

    def init(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module is being made: with what, so that a test can make it again."""
        self.reached = True
        with suppress(Exception):
            module.__dict__["_bugzoo_made"] = (args, kwargs)

    def call(
        self, live: Any, first: list[Any], names: list[str], args: tuple[Any, ...], kwargs: Any
    ) -> None:
        """The target is called. `first`: its self, cls or ctx, where it has them."""
        self.reached = True
        if len(self.calls) >= MOST:
            return
        with suppress(Exception):
            self._keep(_owner(live, first), names, args, kwargs)

    def _keep(self, owner: Any, names: list[str], args: tuple[Any, ...], kwargs: Any) -> None:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in tensors):
            return
        kind = str([(tuple(x.shape), x.dtype, x.requires_grad) for x in tensors])
        kind += str([x for x in (*args, *kwargs.values()) if isinstance(x, bool | int | str)])
        seen = self._kinds.get(kind, 0)
        if seen or sum(x.numel() for x in tensors) > LARGEST:
            return
        self.calls.append(Call(owner, tuple(args), dict(kwargs), tuple(names)).copied())
        self._kinds[kind] = 1


def place(module: types.ModuleType, name: str, code: str, line: int, spy: Spy) -> None:
    """Let a spy into the live target."""
    module.__dict__[NAME] = spy
    swap.install(module, name, code, line, edit=_telling(name))


def names(function: Any) -> tuple[str, ...]:
    """The names of a function's parameters that may be given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    listed = inspect.signature(function).parameters.values()
    return tuple(p.name for p in listed if p.kind in kinds)


def _owner(live: Any, first: list[Any]) -> Any:
    """Who is called: the Function itself, of a subclass too; the module; the function."""
    if not (isinstance(live, type) and issubclass(live, torch.autograd.Function)):
        return first[0] if first else live
    classes = [x for x in first if isinstance(x, type)]
    return (
        classes[0] if classes else getattr(type(first[0]), "_forward_cls", live) if first else live
    )


def _telling(name: str) -> Callable[[Any], None]:
    def edit(statement: Any) -> None:
        if isinstance(statement, ast.FunctionDef):
            statement.body.insert(0, _report(statement, name, 0))
            return
        listed = {s.name: s for s in statement.body if isinstance(s, ast.FunctionDef)}
        for method in listed.values():
            news = ast.parse(f"{NAME}.hit()").body[0]
            if method.name == "forward":
                free = _is(method, "staticmethod") and "setup_context" in listed
                news = _report(method, name, _leading(method, free))
            elif method.name == "__init__":
                news = _report(method, name, 1, "init")
            method.body.insert(0, news)

    return edit


def _leading(method: ast.FunctionDef, free: bool) -> int:
    """How many of the first parameters are no inputs: self; ctx; cls and ctx."""
    return 0 if free else 2 if _is(method, "classmethod") else 1


def _report(function: ast.FunctionDef, name: str, leading: int, verb: str = "call") -> ast.stmt:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args)]
    first, rest = names[:leading], names[leading:]
    values = [*rest, *([f"*{given.vararg.arg}"] if given.vararg else [])]
    keywords = [f"{a.arg!r}: {a.arg}" for a in given.kwonlyargs]
    keywords += [f"**{given.kwarg.arg}"] if given.kwarg else []
    args, kwargs = f"({''.join(v + ', ' for v in values)})", f"{{{', '.join(keywords)}}}"
    if verb == "init":
        return ast.parse(f"{NAME}.init({first[0]}, {args}, {kwargs})").body[0]
    return ast.parse(f"{NAME}.call({name}, [{', '.join(first)}], {rest!r}, {args}, {kwargs})").body[
        0
    ]


def _is(method: ast.FunctionDef, decorator: str) -> bool:
    return any(isinstance(d, ast.Name) and d.id == decorator for d in method.decorator_list)
