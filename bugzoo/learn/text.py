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

    Lines that differ; where only lines are missing, the line before and the line behind the gap. An
    import that the mistake needs is no answer: it stands above what the learner is shown.
    """
    top = _top(shown.splitlines())
    found = [b for b in blocks(right, shown) if b[0] != "equal" and b[4] >= top]
    changed = [b for b in found if b[4] > b[3]]
    lines: list[int] = []
    for _, _, _, start, stop in changed or found:
        lines += range(start + 1, stop + 1) if stop > start else (start, start + 1)
    count, listed = len(shown.splitlines()), shown.splitlines()
    return tuple(n for n in dict.fromkeys(lines) if 1 <= n <= count and listed[n - 1].strip())


def gap(right: str, shown: str) -> bool:
    """Are lines only missing, so that the answer is a place between two lines?"""
    found = [b for b in blocks(right, shown) if b[0] != "equal"]
    return bool(found) and all(b[0] == "delete" for b in found)


def moved(right: str, shown: str) -> tuple[int, str] | None:
    """One line that only stands in the wrong place: its number, and the line it belongs behind."""
    found = [b for b in blocks(right, shown) if b[0] != "equal"]
    good, bad = right.splitlines(), shown.splitlines()
    if sorted(b[0] for b in found) != ["delete", "insert"]:
        return None
    out, into = (next(b for b in found if b[0] == tag) for tag in ("insert", "delete"))
    lines, wanted = bad[out[3] : out[4]], good[into[1] : into[2]]
    if len(lines) != 1 or [s.strip() for s in lines] != [s.strip() for s in wanted]:
        return None
    return out[3] + 1, good[into[1] - 1].strip()


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
    """The program with line numbers, from the first line behind its docstring and imports on."""
    lines = text.splitlines()
    top = _top(lines)
    return [f"{n:4d}  {line}".rstrip() for n, line in enumerate(lines, 1) if n >= top]


def _top(lines: list[str]) -> int:
    """1-based number of the first line that is neither docstring nor import; 1 where all is blank."""
    try:
        body = ast.parse("\n".join(lines)).body
    except SyntaxError:
        starts = ("class ", "def ", "@")
        return next((n for n, s in enumerate(lines, 1) if s.startswith(starts)), 1)
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        marks = getattr(node, "decorator_list", [])
        return min([node.lineno, *(m.lineno for m in marks)])
    return 1
