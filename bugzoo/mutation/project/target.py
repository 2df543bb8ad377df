"""What is mutated: FILE.py::NAME, read as text. Nothing is imported here.

`alone` is the file with every other statement but the imports blanked out: operators work on it, and
line numbers stay those of the file.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from bugzoo.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Target:
    """A class or function at the top level of a file. `first` and `last` are its lines, from 1."""

    path: Path
    name: str
    text: str
    alone: str
    first: int
    last: int

    @property
    def code(self) -> str:
        """Its own lines, decorators included."""
        return "\n".join(self.text.split("\n")[self.first - 1 : self.last])

    def with_code(self, code: str) -> str:
        """The whole file with other code in the place of this."""
        lines = self.text.split("\n")
        return "\n".join([*lines[: self.first - 1], code, *lines[self.last :]])

    @property
    def methods(self) -> list[tuple[str, int, int]]:
        """Name, first and last line of each of its functions; of the function itself."""
        node = _named(ast.parse(self.alone))[self.name]
        if not isinstance(node, ast.ClassDef):
            return [(self.name, *_lines(node))]
        return [(s.name, *_lines(s)) for s in node.body if isinstance(s, ast.FunctionDef)]


def target(words: str) -> Target:
    """The target called 'FILE.py::NAME'. Raises UserError with near names."""
    file, mark, name = words.partition("::")
    if not mark or not name:
        raise UserError(
            f"'{words}': expected FILE.py::NAME, e.g. my_ops.py::MyFunction"
            + (f"\n{_offer(Path(words))}" if Path(words).is_file() else "")
        )
    path = Path(file)
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.absolute().parent.glob("*.py")])
        raise UserError(f"no such file: {file}{near and '.'}{near}")
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{file} cannot be read as Python: {error}") from None
    named = _named(tree)
    if name not in named:
        near = did_you_mean(name, named)
        raise UserError(f"no class or function '{name}' in {file}.{near or ' ' + _offer(path)}")
    first, last = _lines(named[name])
    return Target(path.resolve(), name, text, _alone(text, tree, first, last), first, last)


def code_in(text: str, name: str) -> str:
    """The lines of the class or function `name` in a text."""
    first, last = _lines(_named(ast.parse(text))[name])
    return "\n".join(text.split("\n")[first - 1 : last])


def _alone(text: str, tree: ast.Module, first: int, last: int) -> str:
    kept = set(range(first, last + 1))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = text.split("\n")
    return "\n".join(line if n in kept else "" for n, line in enumerate(lines, 1))


def _named(tree: ast.Module) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    return {n.name: n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}


def _lines(node: ast.ClassDef | ast.FunctionDef) -> tuple[int, int]:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return first, node.end_lineno or node.lineno


def _offer(path: Path) -> str:
    try:
        names = list(_named(ast.parse(path.read_text(encoding="utf-8"))))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return ""
    return f"It has {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}." if names else ""
