"""The code of a specimen as text: made to stand alone, compiled under neutral names, compared.

A twin is written as a subclass that overrides one method. `standalone` folds the class and its
bases of the same file into one class, with the imports and helpers that it uses, so that the text

* is a complete program: a linter, a learner or a mutation operator can work on it;
* says nothing about the twin: class, module and file have the same neutral name for both.
"""

import ast
import difflib
import hashlib
import linecache
import re
import sys
from functools import lru_cache
from pathlib import Path

from bugzoo.errors import SpecimenError

NEUTRAL = "Subject"
_MARKS = {"bug", "control", "correct"}  # decorators: never part of the subject
_TEXT = "__standalone__"  # on a class made by `written`


@lru_cache(maxsize=4096)
def standalone(cls: type, name: str = NEUTRAL) -> str:
    """The source of `cls` as one class called `name`, after the imports and helpers that it uses.

    Methods keep the order of the correct class, whichever twin overrides them. Class docstrings
    and decorators are left out; comments inside methods stay. Raises SpecimenError when the
    source cannot be found.
    """
    if _TEXT in vars(cls):
        return re.sub(rf"\b{NEUTRAL}\b", name, vars(cls)[_TEXT])
    text = _text_of(cls)
    tree = ast.parse(text)
    lines = text.splitlines()
    top = _definitions(tree)

    family = [c for c in cls.__mro__ if c.__module__ == cls.__module__ and c.__name__ in top]
    body: dict[str, str] = {}
    nodes: list[ast.AST] = []
    for part in reversed(family):
        node = top[part.__name__]
        assert isinstance(node, ast.ClassDef)
        kept = [s for s in node.body if not _is_docstring(s) and not isinstance(s, ast.Pass)]
        for statement in kept:
            body[_name_of(statement)] = _lines_of(statement, lines)
        nodes += kept
    root = top[family[-1].__name__]
    assert isinstance(root, ast.ClassDef)
    bases = ", ".join(ast.unparse(b) for b in root.bases)

    own = {part.__name__ for part in family}
    needed = _closure([*nodes, *root.bases], top, own)
    head = "\n".join(_imports(tree, needed))
    helpers = [_lines_of(top[n], lines) for n in top if n in needed and n not in own]
    header = f"class {name}({bases}):" if bases else f"class {name}:"
    members = "\n\n".join(body.values()) or "    pass"
    pieces = [head, *helpers, f"{header}\n{members}"]
    joined = "\n\n\n".join(p for p in pieces if p) + "\n"
    return re.sub(rf"\b(?:{'|'.join(map(re.escape, own))})\b", name, joined)


@lru_cache(maxsize=4096)
def build(text: str, name: str = NEUTRAL) -> type:
    """Compile standalone `text` in a module called 'subject' and return the class `name`.

    The text is registered in linecache under a name made from its hash, so tracebacks and
    `inspect.getsource` work on it.
    """
    file = f"<subject-{hashlib.sha256(text.encode()).hexdigest()[:10]}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space: dict[str, object] = {"__name__": "subject"}
    exec(compile(text, file, "exec"), space)
    made = space[name]
    assert isinstance(made, type)
    return made


def written(text: str, right: type) -> type:
    """A twin of the class `right` that has no file: its code is the standalone `text`.

    Like any twin it is a subclass of the correct one, and like any twin it is used by its text alone.
    """
    return type(right)(right.__name__, (right,), {"__module__": right.__module__, _TEXT: text})


def neutral(cls: type) -> type:
    """`cls` rebuilt from its standalone text: same behaviour, no trace of which twin it is."""
    return build(standalone(cls))


def diff(correct: type, broken: type, context: int = 100) -> str:
    """Unified diff from the correct twin to the broken one; equal imports and helpers included."""
    before, after = (standalone(c, correct.__name__).splitlines() for c in (correct, broken))
    return "\n".join(
        difflib.unified_diff(before, after, "correct", "broken", lineterm="", n=context)
    )


def wrong_lines(correct: type, broken: type) -> list[int]:
    """1-based lines of the broken twin's standalone text that differ from the correct twin's."""
    before, after = (
        [line.strip() for line in standalone(c, correct.__name__).splitlines()]
        for c in (correct, broken)
    )
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [
        number + 1
        for tag, _, _, start, stop in blocks
        if tag != "equal"
        for number in range(start, max(stop, start + 1))
    ]


def _text_of(cls: type) -> str:
    path = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if path is None:
        raise SpecimenError(f"the source of {cls.__module__}.{cls.__qualname__} cannot be found")
    return Path(path).read_text(encoding="utf-8")


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Top-level names that the file itself defines, in the order of the file."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found[name.id] = node
    return found


def _closure(start: list, top: dict[str, ast.stmt], own: set[str]) -> set[str]:
    """Names used by `start`, and by the file's own definitions that these names lead to."""
    used: set[str] = set()
    queue = list(start)
    while queue:
        for node in ast.walk(queue.pop()):
            if isinstance(node, ast.Name) and node.id not in used:
                used.add(node.id)
                if node.id in top and node.id not in own:
                    queue.append(top[node.id])
    return used


def _imports(tree: ast.Module, needed: set[str]) -> list[str]:
    made = []
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [
            a
            for a in node.names
            if (a.asname or a.name).partition(".")[0] in needed and a.name not in _MARKS
        ]
        if not names:
            continue
        listed = ", ".join(a.name + (f" as {a.asname}" if a.asname else "") for a in names)
        if isinstance(node, ast.Import):
            made.append(f"import {listed}")
        else:
            made.append(f"from {'.' * node.level}{node.module or ''} import {listed}")
    return made


def _lines_of(node: ast.stmt, lines: list[str]) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)])
    return "\n".join(lines[first - 1 : node.end_lineno])


def _name_of(statement: ast.stmt) -> str:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return statement.name
    return ast.unparse(statement).partition("=")[0].partition(":")[0].strip()


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
