"""An edit carried out on the tree alone: what the new text is held against."""

import ast
from collections.abc import Iterable
from typing import Any

from bugzoo.mutation.edit import Hole, Put


def rebuilt(tree: ast.AST, puts: Iterable[Put]) -> ast.AST:
    """The tree after the puts; nodes that nothing touches are shared, not copied."""
    at: dict[tuple[str, ast.AST], Put] = {(put.where, put.nodes[0]): put for put in puts}
    touched = {node for _, node in at}
    gone = {node for put in at.values() for node in put.nodes[1:]}

    def visit(value: Any) -> Any:
        if isinstance(value, list):
            made = [x for child in value if child not in gone for x in several(child)]
            if value and not made:
                return [ast.Pass()]
            same = len(made) == len(value) and all(a is b for a, b in zip(made, value))
            return value if same else made
        if not isinstance(value, ast.AST):
            return value
        if isinstance(value, ast.expr) and value in touched:
            return _expression(at["instead", value])
        fields = {name: visit(child) for name, child in ast.iter_fields(value)}
        if all(fields[name] is child for name, child in ast.iter_fields(value)):
            return value
        return type(value)(**fields)

    def several(child: Any) -> list[Any]:
        if not isinstance(child, ast.stmt) or child not in touched:
            return [visit(child)]
        above, instead, below = (at.get((w, child)) for w in ("before", "instead", "after"))
        return [
            *(_statements(above) if above else ()),
            *(_statements(instead) if instead else [visit(child)]),
            *(_statements(below) if below else ()),
        ]

    return visit(tree)


def _expression(put: Put) -> ast.expr:
    parsed = ast.parse(f"({put.template.format(*_names(put))})", mode="eval").body
    return in_context(_filled(parsed, _named(put)), getattr(put.nodes[0], "ctx", ast.Load()))


def _statements(put: Put) -> list[ast.stmt]:
    parsed = ast.parse(put.template.format(*_names(put))).body
    return _filled(parsed, _named(put))


def _names(put: Put) -> list[str]:
    """How the holes are called while the template is parsed."""
    names = [f"_hole_{n}_" for n in range(len(put.holes))]
    return [
        f"*{name}" if isinstance(hole, ast.Starred) else name
        for name, hole in zip(names, put.holes, strict=True)
    ]


def _named(put: Put) -> dict[str, Hole]:
    return {
        f"_hole_{n}_": hole.value if isinstance(hole, ast.Starred) else hole
        for n, hole in enumerate(put.holes)
    }


def _filled(value: Any, holes: dict[str, Hole]) -> Any:
    """A parsed template with the nodes themselves where the names of holes stand."""
    if isinstance(value, list):
        made: list[Any] = []
        for child in value:
            hole = _statement_hole(child, holes)
            made += [_filled(child, holes)] if hole is None else hole
        return made
    if isinstance(value, ast.Name) and value.id in holes:
        return in_context(holes[value.id], value.ctx)
    if not isinstance(value, ast.AST):
        return value
    return type(value)(**{name: _filled(v, holes) for name, v in ast.iter_fields(value)})


def _statement_hole(child: Any, holes: dict[str, Hole]) -> list[ast.stmt] | None:
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Name):
        hole = holes.get(child.value.id)
        if hole is not None and not isinstance(hole, ast.expr):
            return [hole] if isinstance(hole, ast.stmt) else list(hole)
    return None


def in_context(node: Any, context: ast.expr_context) -> Any:
    """The node as it reads where it is loaded, stored or deleted."""
    if isinstance(node, ast.Tuple | ast.List):
        return type(node)([in_context(e, context) for e in node.elts], context)
    if "ctx" in node._fields:
        return type(node)(**(dict(ast.iter_fields(node)) | {"ctx": context}))
    return node
