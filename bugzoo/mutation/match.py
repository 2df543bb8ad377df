"""How operators recognise code: a method and a function are the same call, x.sum(-1), torch.sum(x, -1)."""

import ast
from dataclasses import dataclass
from typing import Any

from bugzoo.mutation.edit import Edit, replace

MODULES = {"torch", "np", "numpy", "F", "nn", "math", "functional", "linalg", "copy"}


@dataclass(frozen=True, eq=False)
class Call:
    """A call whose first operand is `of`, wherever it stands; `args` are those after it."""

    node: ast.Call
    name: str
    of: ast.expr | None
    args: list[ast.expr]

    def keyword(self, *names: str) -> ast.keyword | None:
        return next((k for k in self.node.keywords if k.arg in names), None)

    @property
    def axis(self) -> ast.expr | None:
        """The axis of a reduction, by keyword or by position."""
        given = self.keyword("dim", "axis")
        return given.value if given else self.args[0] if self.args else None


def call(node: ast.AST, *names: str) -> Call | None:
    """The node as a call of one of `names`, or None. `x.f(a)`, `torch.f(x, a)` and `f(x, a)` are alike."""
    if not isinstance(node, ast.Call):
        return None
    called, args = node.func, node.args
    if isinstance(called, ast.Attribute):
        if called.attr not in names:
            return None
        if is_module(called.value):
            return Call(node, called.attr, args[0] if args else None, args[1:])
        return Call(node, called.attr, called.value, args)
    if isinstance(called, ast.Name) and called.id in names:
        return Call(node, called.id, args[0] if args else None, args[1:])
    return None


def is_module(node: ast.AST) -> bool:
    """Is this the name of a library: torch, np, torch.nn.functional?"""
    if isinstance(node, ast.Attribute):
        return is_module(node.value) and node.attr in MODULES
    return isinstance(node, ast.Name) and node.id in MODULES


def renamed(node: ast.Call, new: str) -> Edit:
    """The same call of another function or method: x.sum(-1) -> x.mean(-1)."""
    if isinstance(node.func, ast.Attribute):
        return replace(node.func, f"{{0}}.{new}", node.func.value)
    return replace(node.func, new)


def recalled(
    node: ast.Call, *, without: tuple[Any, ...] = (), extra: str = "", holes: tuple = ()
) -> Edit:
    """The same call with fewer arguments, or with `extra` ones at the end; its holes count from {0}."""
    args = [a for a in node.args if a not in without]
    keywords = [k for k in node.keywords if k not in without]
    first = len(holes)
    values = [node.func, *args, *(k.value for k in keywords)]
    texts = [f"{{{first + n}}}" for n in range(len(values))]
    named = [
        f"{k.arg}={text}" if k.arg else f"**{text}"
        for k, text in zip(keywords, texts[1 + len(args) :])
    ]
    listed = ", ".join([*texts[1 : 1 + len(args)], *named, *([extra] if extra else [])])
    return replace(node, f"{texts[0]}({listed})", *holes, *values)


def on_operand(made: Call, operand: str, *holes: ast.expr) -> tuple[str, tuple[ast.expr, ...]]:
    """The same call with another first operand: a template and its holes, which begin with `holes`."""
    keywords = made.node.keywords
    values = (*made.args, *(k.value for k in keywords))
    texts = [f"{{{len(holes) + n}}}" for n in range(len(values))]
    listed = texts[: len(made.args)]
    listed += [f"{k.arg}={text}" for k, text in zip(keywords, texts[len(made.args) :])]
    function = made.node.func
    if isinstance(function, ast.Attribute) and function.value is made.of:
        return f"{operand}.{made.name}({', '.join(listed)})", (*holes, *values)
    return f"{ast.unparse(function)}({', '.join([operand, *listed])})", (*holes, *values)


def number(node: ast.AST | None) -> int | float | None:
    """The value of a numeric literal with its sign, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    return None


def is_none(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def names(node: ast.AST) -> set[str]:
    """All names that are read or written below the node."""
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def attribute(node: ast.AST, *attrs: str) -> ast.expr | None:
    """`e` where the node is `e.attr`, else None."""
    if isinstance(node, ast.Attribute) and node.attr in attrs and not is_module(node.value):
        return node.value
    return None


def statement_call(node: ast.AST, *names: str) -> Call | None:
    """A statement that is nothing but a call of one of `names`."""
    return call(node.value, *names) if isinstance(node, ast.Expr) else None
