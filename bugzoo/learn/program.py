"""The learner's file: read, parsed, held to the rules, compiled. Each mistake gets a sentence."""

import ast
import linecache
from pathlib import Path
from typing import Any

from bugzoo.errors import UserError
from bugzoo.learn import text
from bugzoo.learn.pool import Exhibit

LONGEST = 200_000  # bytes of a file
ASKS = {  # names by which autograd is asked for the answer
    "autograd.grad", "enable_grad", "vjp", "jvp", "jacrev", "jacfwd", "func.grad", "jacobian",
    "gradcheck", "inference_mode",
}  # fmt: skip


def read(path: Path) -> str:
    """The text of a file. UserError where it is missing, too long, or no text."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} is gone. 'bugzoo learn reset' writes the exercise again; if you have moved the "
            f"folder, go there or name it with --dir."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > LONGEST:
        raise UserError(f"{path} is longer than {LONGEST} bytes: is it the right file?")
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8.") from None


def parsed(source: str, path: str) -> ast.Module:
    """The tree of the file. UserError with the line where it does not parse."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise UserError(
            f"{path}, line {error.lineno}: {error.msg}"
            + (f"\n  {line}" if line else "")
            + "\nMend that line and check again; nothing has been scored."
        ) from None
    except ValueError as error:  # a null byte
        raise UserError(f"{path} does not parse: {error}.") from None


def ends(source: str) -> bool:
    """Is `os._exit` called or named, which would end the check without a word?"""
    try:
        return any(
            isinstance(node, ast.Attribute) and node.attr == "_exit"
            for node in ast.walk(ast.parse(source))
        )
    except (SyntaxError, ValueError):
        return False


def compiled(source: str, path: str, name: str) -> Any:
    """What the file defines as `name`, run in a fresh space. UserError where it cannot be had."""
    parsed(source, path)
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    space: dict[str, Any] = {"__name__": "exercise", "__file__": path}
    try:
        exec(compile(source, path, "exec"), space)
    except Exception as error:
        from bugzoo.learn.measure import line_of, words

        line = line_of(error, path)
        raise UserError(
            f"{path} cannot be run{f', line {line}' if line else ''}: {words(error)}\n"
            f"Mend it and check again; nothing has been scored."
        ) from None
    if name not in space:
        raise UserError(
            f"{path} defines no '{name}' any more: leave its name as it was, or 'bugzoo learn reset'."
        )
    return space[name]


def outside(exhibit: Exhibit, source: str, path: str) -> str:
    """What the learner changed beside the methods of the exercise, in a sentence; '' for nothing."""
    parsed(source, path)
    free = exhibit.methods
    touched = [
        m
        for m in text.changed_methods(exhibit.shown, source, exhibit.name)
        if m not in free and not (m and m not in text.methods(exhibit.shown, exhibit.name))
    ]
    if not touched or "" in free:
        return ""
    what = " and ".join(f"'{m}'" if m else "the code beside the methods" for m in touched)
    allowed = " and ".join(f"'{m}'" for m in free)
    return (
        f"your file differs from the exhibit in {what}; the mistake is in {allowed}. Put it back, or "
        f"'bugzoo learn reset' (your file is kept as {Path(path).name}.1)"
    )


def asks_autograd(source: str, shown: str) -> str:
    """A sentence when the file asks autograd for the answer where the exhibit does not; '' when not."""
    known = _dotted(shown)
    for name, line in _dotted(source).items():
        last = [w for w in ASKS if name == w or name.endswith(f".{w}")]
        if (name.endswith("_backward") and "aten" in name) or "ops." in name:
            last = [name]
        if last and name not in known:
            return (
                f"line {line} asks autograd for the answer ({name}); this exercise wants the formula. "
                f"--allow-autograd, if your teacher agrees"
            )
    return ""


def _dotted(source: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute | ast.Name):
            found.setdefault(ast.unparse(node), node.lineno)
        if isinstance(node, ast.ImportFrom):
            for a in node.names:
                found.setdefault(f"{node.module}.{a.name}", node.lineno)
    return found
