"""What a person would clean up after a change: assignments whose name is no longer read."""

import ast
import re
from collections.abc import Iterator

from bugzoo.mutation.edit import delete
from bugzoo.mutation.rewrite import Program

# Names of calls that do more than give a value, beside methods of `self` and in-place methods.
ACTS = re.compile(
    r".*[^_]_|next|append|extend|add|update|pop|remove|step|backward|zero_grad|register_.*|save_.*"
)


def tidied(program: Program, origin: Program) -> Program:
    """`program` without what has become idle: `g = g`, and assignments whose name is no longer read.

    A name counts that was read in `origin`, in `name = expression` where the expression does nothing
    but give a value. Names in an unpacking stay, as they do in code written by hand.
    """
    while idle := [_whole(program, s) for s in _idle(program, origin)]:
        program = program.apply(delete(*dict.fromkeys(idle)))
    return program


def _idle(program: Program, origin: Program) -> Iterator[ast.stmt]:
    earlier = dict(_functions(origin.tree))
    for name, function in _functions(program.tree):
        before = earlier.get(name, function)
        lost = _loaded(before) - _loaded(function) - _changed(function)
        for node in ast.walk(function):
            if isinstance(node, ast.stmt) and (_unread(node, lost) or _void(node)):
                as_ever = any(_void(n) and ast.dump(n) == ast.dump(node) for n in ast.walk(before))
                only = len(program.block(_whole(program, node))) == 1
                if not as_ever and not only:
                    yield node


def _unread(statement: ast.stmt, lost: set[str]) -> bool:
    """`name = expression`, and nobody reads the name any more."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return False
    target = statement.targets[0]
    return isinstance(target, ast.Name) and target.id in lost and _only_a_value(statement.value)


def _void(node: ast.AST) -> bool:
    """`g = g`, or a name alone on a line."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Name)
    return isinstance(node, ast.Assign) and (
        isinstance(node.value, ast.Name)
        and all(isinstance(t, ast.Name) and t.id == node.value.id for t in node.targets)
    )


def _whole(program: Program, statement: ast.stmt) -> ast.stmt:
    """The statement, or the `if` in which it stands alone."""
    parent, field = program.places[statement]
    alone = isinstance(parent, ast.If) and field == "body" and len(parent.body) == 1
    return parent if alone and not parent.orelse else statement  # type: ignore[attr-defined,return-value]


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods by their dotted names; those inside a function are part of it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")


def _loaded(function: ast.FunctionDef) -> set[str]:
    """Names that are read anywhere in the function."""
    return {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)
    }


def _changed(function: ast.FunctionDef) -> set[str]:
    """Names that are only added to: `dw += ...` needs its first value, read or not."""
    return {
        node.target.id
        for node in ast.walk(function)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    }


def _only_a_value(value: ast.expr) -> bool:
    """False where evaluating may do more: a method of `self`, an in-place call, a callable result."""
    for node in ast.walk(value):
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute):
            own = isinstance(called.value, ast.Name) and called.value.id == "self"
            if own or ACTS.fullmatch(called.attr):
                return False
        elif not isinstance(called, ast.Name) or ACTS.fullmatch(called.id):
            return False
    return True
