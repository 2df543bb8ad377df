"""A frame as plain text, Markdown or CSV. No colour, no time stamp: the same frame, the same bytes.

Text never is wider than `width`: a table that does not fit, even with its words wrapped, goes on
in a second block, the first column repeated. States are one sign each where a table holds nothing else.
"""

import math
import re
import textwrap
from itertools import zip_longest
from typing import Any

import pandas as pd

from reports import _units

RATES = {
    *("recall", "low", "high", "false alarms", "precision", "J", "MCC"),
    *("mutant recall", "collapsed", "harmless alarmed"),
}
SIGNS = {
    "caught": "#",
    "missed": ".",
    "abstained": "?",
    "failed": "!",
    "loud": "^",
    "dormant": "_",
    "not applicable": " ",
}
LEGEND = ", ".join(f"{sign if sign.strip() else 'blank'} {word}" for word, sign in SIGNS.items())


def cell(value: Any, column: str = "") -> str:
    """A value as people read it: three digits behind the point for a rate, three digits for the rest."""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        if column in RATES:
            return f"{value:.3f}"
        return f"{value:.0f}" if value.is_integer() or abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def strings(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every cell as `cell` writes it."""
    made = {c: [cell(v, str(c)) for v in frame[c]] for c in frame.columns}
    return pd.DataFrame(made, columns=frame.columns, dtype=object)


def is_states(frame: pd.DataFrame) -> bool:
    """Nothing but states behind the first column."""
    rest = frame.iloc[:, 1:]
    return bool(rest.size) and bool(rest.isin(list(_units.STATES)).all(axis=None))


def text(frame: pd.DataFrame, sentence: str = "", width: int = 80) -> str:
    """The table for a terminal of `width` columns, numbers to the right, words to the left."""
    lines = [*textwrap.wrap(sentence, width), ""] if sentence else []
    if frame.empty:
        return "\n".join([*lines, "(no rows)"]) + "\n"
    if is_states(frame):
        lines += [*textwrap.wrap(LEGEND, width), ""]
    key, *rest = columns = _columns(frame, width)
    gap = 2 if _total(columns, 2) <= width else 1
    while True:
        block = [key]
        while rest and _total([*block, rest[0]], gap) <= width:
            block.append(rest.pop(0))
        lines += _block(block, " " * gap)
        if not rest:
            return "\n".join(lines) + "\n"
        lines.append("")


def markdown(frame: pd.DataFrame) -> str:
    """The table as GitHub Markdown; text is escaped."""
    if frame.empty:
        return "*(no rows)*\n"
    shown, lines = strings(frame), []
    if is_states(frame):
        shown, lines = shown.replace(SIGNS), [_escaped(LEGEND), ""]
    marks = ["---:" if _numeric(frame.iloc[:, n]) else "---" for n in range(frame.shape[1])]
    rows = [[str(c) for c in frame.columns], *shown.to_numpy().tolist()]
    head, *body = ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows]
    return "\n".join([*lines, head, "| " + " | ".join(marks) + " |", *body]) + "\n"


def csv(frame: pd.DataFrame) -> str:
    """The table as CSV, floats with six significant digits, NaN empty."""
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


class _Column:
    """One column laid out: heading and cells as lists of lines, and the width that they need."""

    def __init__(self, values: pd.Series, longest: int, signs: bool = False):
        name = str(values.name)
        self.values, self.right, self.longest = values, _numeric(values), longest
        if signs:
            self.cells, self.head, self.width = [[SIGNS[v]] for v in values], list(name), 1
            return
        self.cells = [_wrapped(cell(v, name), longest) for v in values]
        body = max(len(line) for lines in self.cells for line in lines)
        piece = max(map(len, _pieces(name)))
        self.head = _wrapped(name, min(max(body, piece, 3), longest))
        self.width = max([body, *map(len, self.head)])


def _columns(frame: pd.DataFrame, width: int) -> list[_Column]:
    """All columns; where they do not fit side by side, words are wrapped, never below 16.

    The first column has at most 3/8 of the width, any other half, so that two always fit.
    """
    signs, limits = is_states(frame), [width * 3 // 8, *[width // 2] * (frame.shape[1] - 1)]
    made = [_Column(frame.iloc[:, n], m, signs and n > 0) for n, m in enumerate(limits)]
    wide = [n for n, c in enumerate(made) if not c.right and c.width > 16]
    if _total(made, 1) - sum(made[n].width - 16 for n in wide) > width:
        return made  # wrapping cannot save it
    while _total(made, 1) > width:
        n = max(wide, key=lambda n: made[n].width)
        made[n] = _Column(made[n].values, made[n].width - 1)
    return made


def _total(columns: list[_Column], gap: int) -> int:
    return sum(c.width for c in columns) + gap * (len(columns) - 1)


def _block(columns: list[_Column], gap: str) -> list[str]:
    height = max(len(c.head) for c in columns)
    lines = _rows(columns, [[""] * (height - len(c.head)) + c.head for c in columns], gap)
    lines.append(gap.join("-" * c.width for c in columns))
    for cells in zip(*(c.cells for c in columns)):
        lines += _rows(columns, list(cells), gap)
    return lines


def _rows(columns: list[_Column], cells: list[list[str]], gap: str) -> list[str]:
    made = []
    for parts in zip_longest(*cells, fillvalue=""):
        pairs = zip(parts, columns)
        laid = (p.rjust(c.width) if c.right else p.ljust(c.width) for p, c in pairs)
        made.append(gap.join(laid).rstrip())
    return made


def _pieces(words: str) -> list[str]:
    """What must not be cut: `words` parted behind blanks and behind the signs / _ , -"""
    return re.findall(r"[^\s/_,-]+[/_,-]*\s*|[/_,-]+\s*", " ".join(words.split())) or [""]


def _wrapped(words: str, width: int) -> list[str]:
    """Lines of at most `width`; a piece that is longer than a line is cut anywhere."""
    lines = [""]
    for piece in _pieces(words):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        while len(piece.rstrip()) > width:
            lines[-1], piece = piece[:width], piece[width:]
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values)


def _escaped(words: str) -> str:
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("`", "\\`")):
        words = words.replace(sign, safe)
    return " ".join(words.split()) or " "
