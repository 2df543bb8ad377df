"""An edit carried out on the text: only the segments of the changed nodes are replaced.

Comments, blank lines and layout survive. The parentheses that an edit may need are tried: those
stay without which the text would not say what the edited tree says.
"""

import ast
import keyword
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from bugzoo.mutation.edit import Edit, Hole, Put
from bugzoo.mutation.tree import rebuilt

OPEN, CLOSE = "\ue000", "\ue001"  # tentative parentheses
_ALONE = re.compile(r"( *)\{(\d+)\}")  # a line of a template that is one hole
_OPERATOR = re.compile(r"#[^\n]*|(\*\*|//|<<|>>|[-+*/@%&|^])")


class Unfaithful(Exception):
    """The edit cannot be made in this text so that it says what the edited tree says."""


class Program:
    """A text and its tree. Nothing is changed in place: `apply` makes a new program."""

    def __init__(self, text: str, tree: ast.Module | None = None):
        self.text = text
        self.tree = ast.parse(text) if tree is None else tree
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def apply(self, edit: Edit) -> "Program":
        """The program after the edit. Raises Unfaithful where text and tree would not agree."""
        if OPEN in self.text or CLOSE in self.text:
            raise Unfaithful("the text uses the characters that mark tentative parentheses")
        puts = self._no_empty_block(edit.puts)
        pieces, done = [], 0
        for start, end, new in sorted(self._splice(put) for put in puts):
            if start < done:
                raise Unfaithful("two edits at one place")
            pieces += [self.text[done:start], new]
            done = end
        marked = "".join([*pieces, self.text[done:]])
        target = ast.dump(rebuilt(self.tree, edit.puts))
        made = Program(*settled(marked, target))
        made.dump = target
        return made

    def span(self, node: Any) -> tuple[int, int]:
        """Where the node's text begins and ends, in characters; the tree counts bytes of UTF-8."""
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def segment(self, node: ast.AST) -> str:
        """The node's own text."""
        start, end = self.span(node)
        return self.text[start:end]

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements in which this one stands."""
        parent, name = self.places[statement]
        return getattr(parent, name)

    @cached_property
    def dump(self) -> str:
        """The tree as text, without positions: equal for equal programs."""
        return ast.dump(self.tree)

    @cached_property
    def places(self) -> dict[ast.AST, tuple[ast.AST, str]]:
        """For each node its parent, and the field of the parent that holds it."""
        return {
            child: (parent, name)
            for parent in ast.walk(self.tree)
            for name, value in ast.iter_fields(parent)
            for child in (value if isinstance(value, list) else [value])
            if isinstance(child, ast.AST)
        }

    def _no_empty_block(self, puts: tuple[Put, ...]) -> list[Put]:
        """A block that would lose all its statements gets a `pass`."""
        gone = {node for put in puts if not put.template for node in put.nodes}

        def emptied(statement: Any) -> bool:
            block = self.block(statement)
            return block[0] is statement and gone.issuperset(block)

        return [
            Put(put.nodes, "pass") if not put.template and emptied(put.nodes[0]) else put
            for put in puts
        ]

    def _splice(self, put: Put) -> tuple[int, int, str]:
        """Start, end and the new text between them."""
        first, last = put.nodes[0], put.nodes[-1]
        if isinstance(first, ast.expr):
            return self._expression(first, put)
        assert isinstance(last, ast.stmt)
        start, end = self._extent(first)[0], self._extent(last)[1]
        new = "\n".join(self._lines_of(put, self._indent(first)))
        if put.where == "before":
            return start, start, f"{new}\n"
        if put.where == "after":
            return end, end, f"\n{new}"
        if not put.template:
            blank_above = self.text.endswith("\n\n", 0, start)
            blank_below = self.text.startswith("\n", end + 1)
            return start, min(end + 1 + (blank_above and blank_below), len(self.text)), ""
        if put.template != "pass" and all(isinstance(hole, ast.expr) for hole in put.holes):
            # the statement is written anew: the comments around it stay
            start, end = self._starts[first.lineno - 1], self.span(last)[1]
        return start, end, new

    def _expression(self, node: ast.expr, put: Put) -> tuple[int, int, str]:
        start, end = self.span(node)
        new = f"{OPEN}{self._joined(put) or self._filled(put.template, put.holes)}{CLOSE}"
        while around := self._parentheses(start, end):
            left, right = around
            new = f"{OPEN}{self.text[left + 1 : start]}{new}{self.text[end : right - 1]}{CLOSE}"
            start, end = left, right
        return start, end, new

    def _lines_of(self, put: Put, indent: str) -> Iterator[str]:
        for line in put.template.split("\n"):
            alone = _ALONE.fullmatch(line)
            hole = put.holes[int(alone[2])] if alone else None
            bare = line.lstrip(" ")
            deeper = indent + self._unit * ((len(line) - len(bare)) // 4)
            if hole is not None and not isinstance(hole, ast.expr):
                yield from self._moved([hole] if isinstance(hole, ast.stmt) else hole, deeper)
            else:
                yield deeper + self._filled(bare, put.holes) if bare else ""

    def _moved(self, statements: Sequence[ast.stmt], indent: str) -> Iterator[str]:
        """The lines of statements at another indentation."""
        for node in (n for s in statements for n in ast.walk(s)):
            text = isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
            )
            if text and node.lineno != node.end_lineno:  # type: ignore[attr-defined]
                raise Unfaithful("a string of several lines cannot be indented anew")
        old = self._indent(statements[0])
        start, end = self._extent(statements[0])[0], self._extent(statements[-1])[1]
        for line in self.text[start:end].split("\n"):
            yield indent + line.removeprefix(old) if line.strip() else ""

    def _extent(self, statement: ast.stmt) -> tuple[int, int]:
        """Whole lines: with decorators, the comment at the end and comment lines directly above."""
        indent = self._indent(statement)
        decorators = getattr(statement, "decorator_list", [])
        line = min([statement.lineno, *(d.lineno for d in decorators)])
        while line > 1 and self._lines[line - 2].startswith(f"{indent}#"):
            line -= 1
        end = self._starts[statement.end_lineno or statement.lineno] - 1
        rest = self.text[self.span(statement)[1] : end].strip()
        if rest and not rest.startswith("#"):
            raise Unfaithful("several statements on one line")
        return self._starts[line - 1], end

    def _indent(self, statement: ast.stmt) -> str:
        line = self._lines[statement.lineno - 1]
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if len(indent) != statement.col_offset:
            raise Unfaithful("several statements on one line")
        if isinstance(statement, ast.If) and line[len(indent) :].startswith("elif"):
            raise Unfaithful("an elif cannot be moved alone")
        return indent

    @cached_property
    def _unit(self) -> str:
        """One step of indentation, as this text has it."""
        indents = (re.match(r"[ \t]+(?=\S)", line) for line in self._lines)
        return next((found.group() for found in indents if found), "    ")

    def _filled(self, template: str, holes: tuple[Hole, ...]) -> str:
        return template.format(*(self._held(hole) for hole in holes))

    def _held(self, hole: Hole) -> str:
        if isinstance(hole, ast.Starred):
            return f"*{self._held(hole.value)}"
        return f"{OPEN}{self.segment(hole)}{CLOSE}" if isinstance(hole, ast.expr) else ""

    def _joined(self, put: Put) -> str:
        """`a + b` over several lines with another operator: line breaks and comments stay."""
        node, new = put.nodes[0], re.fullmatch(r"\{0\} (\S+) \{1\}", put.template)
        if not isinstance(node, ast.BinOp) or put.holes != (node.left, node.right) or not new:
            return ""
        (start, end), left, right = self.span(node), self.span(node.left), self.span(node.right)
        between = self.text[left[1] : right[0]]
        if "\n" not in between:
            return ""
        between = _OPERATOR.sub(lambda m: new[1] if m[1] else m[0], between)
        sides = [f"{OPEN}{self.segment(side)}{CLOSE}" for side in (node.left, node.right)]
        return (
            f"{self.text[start : left[0]]}{sides[0]}{between}{sides[1]}{self.text[right[1] : end]}"
        )

    def _parentheses(self, start: int, end: int) -> tuple[int, int] | None:
        """The pair directly around start:end, if there is one and it is not that of a call."""
        left = len(self.text[:start].rstrip()) - 1
        right = len(self.text) - len(self.text[end:].lstrip())
        if left < 0 or self.text[left] != "(" or self.text[right : right + 1] != ")":
            return None
        word = re.search(r"[\w)\]]+$", self.text[:left])
        return None if word and not keyword.iskeyword(word.group()) else (left, right + 1)

    def _offset(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode()[:column].decode())
        return self._starts[line - 1] + column


def settled(marked: str, target: str) -> tuple[str, ast.Module]:
    """The text with only those tentative parentheses that the tree `target`, dumped, asks for."""
    pairs = sorted(_pairs(marked))

    def parsed(dropped: set[int]) -> tuple[str, ast.Module] | None:
        kept = {OPEN: "(", CLOSE: ")"}
        text = "".join("" if n in dropped else kept.get(c, c) for n, c in enumerate(marked))
        try:
            tree = ast.parse(text)
        except SyntaxError:
            return None
        return (text, tree) if ast.dump(tree) == target else None

    none = parsed({n for pair in pairs for n in pair})
    if none is not None:
        return none
    best, dropped = parsed(set()), set[int]()
    if best is None:
        raise Unfaithful("the new text does not say what the new tree says")
    for pair in pairs:
        if (fewer := parsed({*dropped, *pair})) is not None:
            best, dropped = fewer, {*dropped, *pair}
    return best


def _pairs(marked: str) -> Iterator[tuple[int, int]]:
    stack: list[int] = []
    for n, c in enumerate(marked):
        if c == OPEN:
            stack.append(n)
        elif c == CLOSE:
            yield stack.pop(), n
