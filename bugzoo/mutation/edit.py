"""What is changed where: templates in the places of nodes. The holes {0}, {1}, ... are other nodes.

replace(node, "{0}.detach()", node)          g * y            ->  (g * y).detach()
replace(node, "{0}", node.left)              (g * y).sum(-1)  ->  g.sum(-1)
before(statement, "g = torch.ones_like(g)")  a new line above

A template is written as people write code, with four spaces a level and without thinking of
parentheses; text and layout of the holes are kept.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Hole = ast.expr | ast.stmt | Sequence[ast.stmt]


@dataclass(frozen=True, eq=False)
class Put:
    """`template` instead of `nodes`: one expression, or neighbouring statements of a block.

    Or before or after one statement, which stays and may be changed by another put.
    """

    nodes: tuple[ast.expr, ...] | tuple[ast.stmt, ...]
    template: str
    holes: tuple[Hole, ...] = ()
    where: Literal["before", "instead", "after"] = "instead"


@dataclass(frozen=True, eq=False)
class Edit:
    """Puts at different places, made together."""

    puts: tuple[Put, ...] = ()

    def __add__(self, other: "Edit") -> "Edit":
        return Edit(self.puts + other.puts)


def replace(node: ast.expr | ast.stmt, template: str, *holes: Hole) -> Edit:
    """The template in the place of an expression or of a statement."""
    return Edit((Put((node,), template, holes),))  # type: ignore[arg-type]


def delete(*statements: ast.stmt) -> Edit:
    """Each statement goes, and with it the comment lines directly above."""
    return Edit(tuple(Put((s,), "") for s in statements))


def before(statement: ast.stmt, template: str, *holes: Hole) -> Edit:
    """New lines above the statement, at its indentation."""
    return Edit((Put((statement,), template, holes, "before"),))


def after(statement: ast.stmt, template: str, *holes: Hole) -> Edit:
    """New lines below the statement, at its indentation."""
    return Edit((Put((statement,), template, holes, "after"),))


def swap(a: ast.expr | ast.stmt, b: ast.expr | ast.stmt) -> Edit:
    """Two expressions, or two statements, change places."""
    return replace(a, "{0}", b) + replace(b, "{0}", a)


def wrap(header: str, statements: Sequence[ast.stmt]) -> Edit:
    """Neighbouring statements go under `header`, indented once more."""
    return Edit((Put(tuple(statements), f"{header}\n    {{0}}", (tuple(statements),)),))


def unwrap(statement: ast.stmt, body: Sequence[ast.stmt]) -> Edit:
    """The body of a compound statement takes its place, indented once less."""
    return Edit((Put((statement,), "{0}", (tuple(body),)),))


def on_class(scope: Any, line: str) -> Edit:
    """A new attribute above the first member of the scope's class; braces in `line` are doubled."""
    return before(scope.owner.body[0], f"{line}\n")
