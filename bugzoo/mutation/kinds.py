"""Which functions of a class are looked at, and what each of them is.

A class is known by its bases, a method by its name and by what it calls: nothing is imported or run.
"""

import ast
from collections.abc import Iterator

from bugzoo.errors import UserError, did_you_mean
from bugzoo.mutation.rewrite import Program
from bugzoo.mutation.scope import Kind, Scope, bases, functions, is_function

Target = ast.ClassDef | ast.FunctionDef
MAKERS = ("__init__", "build", "reset_parameters")  # where parameters are made


def scopes(program: Program, target: Target, methods: list[str] | None = None) -> list[Scope]:
    """The functions of a class, or one function, that operators may look at; `methods` keeps some."""
    if isinstance(target, ast.FunctionDef):
        kind: Kind = "step" if _trains(target) else "module"
        return list(_with_inner(Scope(program, target, kind, None, target.name)))
    listed = {m.name: m for m in functions(target)}
    for name in methods or ():
        if name not in listed:
            raise UserError(
                f"class '{target.name}' has no method '{name}'; it has {', '.join(listed)}."
                + did_you_mean(name, listed)
            )
    found: list[Scope] = []
    for name, method in listed.items():
        kind_of = _kind(target, method, wanted=methods is not None and name in methods)
        if kind_of is not None and (methods is None or name in methods):
            found += _with_inner(Scope(program, method, kind_of, target, name))
        elif "Engine" in bases(target) and (methods is None or name in methods):
            for pullback in _inner(method):
                inner = Scope(program, pullback, "backward", target, f"{name}.{pullback.name}")
                found += _with_inner(inner)
    return found


def find(program: Program, name: str) -> Target:
    """The class or function called `name` in the program."""
    listed = {n.name: n for n in program.tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    if name not in listed:
        raise UserError(
            f"no class or function '{name}' in this text; it has {', '.join(listed) or 'none'}."
            + did_you_mean(name, listed)
        )
    return listed[name]


def _kind(owner: ast.ClassDef, method: ast.FunctionDef, wanted: bool) -> Kind | None:
    """What a method is, by the bases of its class, its name and what it calls."""
    name, given = method.name, set(bases(owner))
    if "Engine" in given:
        return "backward" if name == "backward" else None
    if is_function(owner):
        if name in ("forward", "setup_context"):
            return "forward"
        helps = _reached(owner, "backward") - _reached(owner, "forward")
        return "backward" if name in helps else None
    if name in MAKERS:
        return "init"
    if "Loop" in given or _trains(method):
        return None if any(_is_property(d) for d in method.decorator_list) else "step"
    return "module" if name == "forward" or wanted else None


def _reached(owner: ast.ClassDef, start: str) -> set[str]:
    """Methods that `start` calls by name, and those that they call, and itself."""
    listed = {m.name: m for m in functions(owner)}
    found, queue = set(), [start] if start in listed else []
    while queue:
        name = queue.pop()
        found.add(name)
        for node in ast.walk(listed[name]):
            if isinstance(node, ast.Attribute) and node.attr in listed and node.attr not in found:
                queue.append(node.attr)
    return found


def _trains(function: ast.FunctionDef) -> bool:
    """Does it call `.backward()` or an optimizer's `.step()`?"""
    return any(
        isinstance(n, ast.Call)
        and isinstance(n.func, ast.Attribute)
        and (n.func.attr == "backward" or (n.func.attr == "step" and "optim" in ast.dump(n.func)))
        for n in ast.walk(function)
    )


def _with_inner(scope: Scope) -> Iterator[Scope]:
    """The scope, then the functions inside it, which are of the same kind."""
    yield scope
    for function in _inner(scope.function):
        name = f"{scope.name}.{function.name}"
        yield from _with_inner(Scope(scope.program, function, scope.kind, scope.owner, name))


def _inner(function: ast.FunctionDef) -> list[ast.FunctionDef]:
    """Functions defined in this one, not deeper."""
    found, queue = [], list[ast.AST](function.body)
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.FunctionDef):
            found.append(node)
        elif not isinstance(node, ast.ClassDef):
            queue += ast.iter_child_nodes(node)
    return found


def _is_property(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "property"
