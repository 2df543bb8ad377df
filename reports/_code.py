"""Python source and unified diffs as highlighted HTML, one element a line. Colours are in `css`."""

import re
from functools import lru_cache

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

LIGHT, DARK = "default", "github-dark"
_SIGNS = {"+": ("add", "+"), "-": ("cut", "−")}


def css() -> str:
    """Token colours for a light page, then those for a dark one."""
    return f"{_colours(LIGHT)}\n@media (prefers-color-scheme: dark) {{\n{_colours(DARK)}\n}}"


def python(text: str) -> Markup:
    """Source text, its lines numbered by the style sheet."""
    return _joined([("", "", line) for line in _highlighted(text)])


def diff(text: str) -> Markup:
    """A unified diff without its header lines; the code of all lines is lexed as Python."""
    lines = text.splitlines()
    if lines[:1] and lines[0].startswith("--- "):
        lines = lines[2:]
    lines = [line for line in lines if not line.startswith("@@ ")]
    codes = _highlighted("\n".join(line[1:] for line in lines))
    return _joined([(*_SIGNS.get(a[:1], ("", " ")), b) for a, b in zip(lines, codes, strict=True)])


def prose(text: str) -> Markup:
    """A label's sentence, what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _highlighted(text: str) -> list[str]:
    """One string of HTML for each line, its spans closed at the line's end."""
    count = max(1, len(text.split("\n")))
    made = highlight(text, _lexer(), HtmlFormatter(nowrap=True)).split("\n")
    return (made + [""] * count)[:count]


def _joined(lines: list[tuple[str, str, str]]) -> Markup:
    made = []
    for name, sign, code in lines:
        mark = f'<i aria-hidden="true">{sign}</i>' if sign else ""
        made.append(f'<span class="line {name}">{mark}{code}\n</span>')
    return Markup("".join(made))


@lru_cache(maxsize=1)
def _lexer() -> PythonLexer:
    return PythonLexer(stripnl=False, ensurenl=False)


def _colours(style: str) -> str:
    """The style's rules for tokens; its background is the page's own."""
    rules = HtmlFormatter(style=style).get_style_defs("code").splitlines()
    return "\n".join(r for r in rules if r.startswith("code .") and "background" not in r)
