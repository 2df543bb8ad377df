"""What a learner may read of an exhibit: the program without comments, the formula without its gradient."""

import ast
import difflib
import io
import re
import tokenize
from collections.abc import Sequence


def bare(text: str) -> str:
    """`text` without comments: one that has gone stale beside a changed line gives the line away."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            kept = lines[row - 1][:column].rstrip()
            lines[row - 1] = kept if kept else "\0"
    return "\n".join(line for line in lines if line != "\0") + "\n"


def formula(doc: str) -> str:
    """The title and the equations of the forward; what says how the gradient is got is left out."""
    title, _, rest = doc.strip().partition("\n\n")
    block = rest.partition("\n\n")[0].splitlines() if re.search(r"\w+.* = ", rest) else []
    lines = [line.strip() for line in block if not re.match(r"\s*(d\w+|\w+bar)\s+=", line)]
    shown = [" ".join(title.split()), *(f"  {re.sub(r' {3,}', '     ', line)}" for line in lines)]
    return "\n".join(line for line in shown if line.strip())


def blocks(right: str, shown: str) -> Sequence[tuple[str, int, int, int, int]]:
    """difflib's opcodes between the lines of two programs."""
    before, after = ([line.rstrip() for line in t.splitlines()] for t in (right, shown))
    return difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()


def wrong_lines(right: str, shown: str) -> tuple[int, ...]:
    """1-based lines of `shown` that answer "which line is wrong?".

    Lines that differ; where only lines are missing, the line before and the line behind the gap.
    """
    found = [b for b in blocks(right, shown) if b[0] != "equal"]
    changed = [b for b in found if b[4] > b[3]]
    lines: list[int] = []
    for _, _, _, start, stop in changed or found:
        lines += range(start + 1, stop + 1) if stop > start else (start, start + 1)
    count, listed = len(shown.splitlines()), shown.splitlines()
    return tuple(n for n in dict.fromkeys(lines) if 1 <= n <= count and listed[n - 1].strip())


def numbered(right: str, shown: str, line: int) -> int:
    """The line of `shown` at which line `line` of `right` stands, or would stand."""
    for tag, a, b, c, d in blocks(right, shown):
        if a < line <= b:
            return min(c + line - a, max(d, c + 1)) if tag != "equal" else c + line - a
    return line


def methods(text: str, name: str) -> dict[str, str]:
    """The methods of the class `name` as dumped trees; what is beside them under ''."""
    tree = ast.parse(text)
    found: dict[str, str] = {}
    rest: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    found[part.name] = ast.dump(part)
                elif not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)):
                    rest.append(ast.dump(part))
        elif not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
            rest.append(ast.dump(node))
    return found | {"": "\n".join(rest)}


def changed_methods(right: str, shown: str, name: str) -> tuple[str, ...]:
    """Methods in which the two programs differ, '' for anything beside the methods."""
    one, two = methods(right, name), methods(shown, name)
    return tuple(m for m in dict.fromkeys([*one, *two]) if one.get(m) != two.get(m))


def code_lines(text: str) -> list[str]:
    """The program with line numbers, from the first line of its first class or function on."""
    lines = text.splitlines()
    start = next((n for n, s in enumerate(lines) if s.startswith(("class ", "def ", "@"))), 0)
    return [f"{n:4d}  {line}".rstrip() for n, line in enumerate(lines, 1) if n > start]
