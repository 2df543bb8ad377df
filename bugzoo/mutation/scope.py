"""The function in which an operator looks at a node, and what may be asked about it."""

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

from bugzoo.mutation.rewrite import Program

Kind = Literal["backward", "forward", "module", "init", "step"]


class Scope:
    """One function of the program.

    kind: backward    from cotangents to gradients: Function.backward, a pullback
          forward     Function.forward and setup_context: what is saved for the backward
          module      the forward of a module, differentiated by autograd
          init        where parameters are made
          step        a training step
    """

    def __init__(
        self,
        program: Program,
        function: ast.FunctionDef,
        kind: Kind,
        owner: ast.ClassDef | None,
        name: str,
    ):
        self.program, self.function, self.kind, self.name = program, function, kind, name
        self.owner: Any = owner

    def nodes(self) -> Iterator[ast.AST]:
        """The function and what is in its body, in reading order; no docstring, no inner function."""
        yield self.function
        queue: list[ast.AST] = list(reversed(self.body))
        while queue:
            node = queue.pop()
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.JoinedStr):
                continue
            yield node
            queue += reversed(list(ast.iter_child_nodes(node)))

    @cached_property
    def body(self) -> list[ast.stmt]:
        """The statements, without the docstring."""
        return without_docstring(self.function.body)

    @property
    def start(self) -> ast.stmt:
        """The first statement, or the second where the first unpacks the saved tensors."""
        return self.body[self.unpacking is self.body[0] and len(self.body) > 1]

    @cached_property
    def parameters(self) -> list[str]:
        """Names of the parameters, without self, cls and ctx."""
        given = self.function.args
        last = [given.vararg.arg] if given.vararg else []
        listed = [*self._positional, *last]
        first = listed[0] if listed else ""
        free = self.name == "forward" and self.method("setup_context") is not None
        protocol = self.name in ("forward", "backward", "setup_context") and is_function(self.owner)
        return listed[first in ("self", "cls", "ctx") or (protocol and not free) :]

    @property
    def ctx(self) -> str:
        """What this function calls the context."""
        return self._positional[0] if self._positional else "ctx"

    @cached_property
    def _positional(self) -> list[str]:
        """Names of the positional parameters, without the class of a class method."""
        given = self.function.args.posonlyargs + self.function.args.args
        return [a.arg for a in given[_decorated(self.function, "classmethod") :]]

    @cached_property
    def cotangents(self) -> set[str]:
        """Parameters that hold a gradient of the outputs."""
        return set(self.parameters) if self.kind == "backward" else set()

    @cached_property
    def saved(self) -> list[str]:
        """Names unpacked from `ctx.saved_tensors`, in order."""
        unpacked = self.unpacking
        if unpacked is None:
            return []
        target = unpacked.targets[0]
        elements = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        return [e.id for e in elements if isinstance(e, ast.Name)]

    @cached_property
    def unpacking(self) -> Any:
        """The assignment that unpacks `ctx.saved_tensors`, or None."""
        for node in self.nodes():
            if isinstance(node, ast.Assign) and _ends_in(node.value, "saved_tensors"):
                return node
        return None

    @cached_property
    def results(self) -> list[ast.expr]:
        """What is returned, element by element, without the None."""
        found: list[ast.expr] = []
        for node in self.nodes():
            if isinstance(node, ast.Return) and node.value is not None:
                value = node.value
                found += value.elts if isinstance(value, ast.Tuple) else [value]
        return [e for e in found if not isinstance(e, ast.Constant | ast.Starred)]

    @property
    def g(self) -> str:
        """The name of the cotangent in Function.backward; '' in other functions."""
        custom = self.name == "backward" and is_function(self.owner)
        return self.parameters[0] if custom and self.parameters else ""

    def is_cotangent(self, node: ast.AST) -> bool:
        """Is this the gradient that came in: g, or out.grad in an engine of nodes?"""
        if isinstance(node, ast.Attribute):
            return self.kind == "backward" and node.attr == "grad"
        return isinstance(node, ast.Name) and node.id in self.cotangents

    def parent(self, node: ast.AST) -> Any:
        return self.program.places[node][0]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that hold this one, the nearest first, up to the function."""
        while node is not self.function:
            node = self.parent(node)
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement in which the node stands."""
        while not isinstance(node, ast.stmt):
            node = self.parent(node)
        return node

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        return self.program.block(statement)

    def loops(self, node: ast.AST) -> list[ast.For | ast.While]:
        """The loops around the node, the innermost first."""
        return [n for n in self.above(node) if isinstance(n, ast.For | ast.While)]

    def later(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements after this one in its block."""
        block = self.block(statement)
        return block[block.index(statement) + 1 :]

    def method(self, name: str) -> ast.FunctionDef | None:
        """Another method of the class."""
        return next((m for m in functions(self.owner) if m.name == name), None)

    def sibling(self, name: str, kind: Kind) -> "Scope | None":
        """Another method of the class, as a scope."""
        found = self.method(name)
        return Scope(self.program, found, kind, self.owner, name) if found else None

    @cached_property
    def torch(self) -> bool:
        """Is the name `torch` known here?"""
        return "torch" in _imported(self.program.tree)

    def like(self, kind: str, name: str) -> str:
        """zeros, ones or empty like the tensor called `name`, as code."""
        return f"torch.{kind}_like({name})" if self.torch else f"{name}.new_{kind}({name}.shape)"


def functions(owner: ast.ClassDef | None) -> list[ast.FunctionDef]:
    """The methods of a class."""
    return [s for s in owner.body if isinstance(s, ast.FunctionDef)] if owner else []


def bases(owner: ast.ClassDef) -> list[str]:
    """The last parts of the names of the bases."""
    return [ast.unparse(base).rpartition(".")[2] for base in owner.bases]


def is_function(owner: ast.ClassDef | None) -> bool:
    """An autograd.Function: by its base, or by a `backward` without self where the base is the user's own."""
    if owner is None or "Engine" in bases(owner):
        return False
    free = any(
        _decorated(m, "staticmethod") or _decorated(m, "classmethod")
        for m in functions(owner)
        if m.name == "backward"
    )
    return free or bool({"Function", "InplaceFunction"} & set(bases(owner)))


def _decorated(function: ast.FunctionDef, name: str) -> bool:
    return any(isinstance(d, ast.Name) and d.id == name for d in function.decorator_list)


def _imported(tree: ast.Module) -> set[str]:
    return {
        (alias.asname or alias.name).partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements but for a string at the beginning."""
    first = body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if text and isinstance(first.value.value, str) else body  # type: ignore


def _ends_in(node: ast.AST, attr: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == attr
