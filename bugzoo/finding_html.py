"""A Result as HTML for notebooks: a heading, a table of numbers for each finding, notes folded.

Styles stand in the elements, as notebooks strip style sheets. Text keeps the notebook's own colour
and lines are grey half-seen through, so that light and dark themes both serve; the coloured badge
brings its own background. What the user's code said is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bugzoo.finding import Finding, Result

GREEN, RED, BROWN = "#1a7f37", "#b3261e", "#8a5300"  # white on each: contrast above 5
LINE = "rgba(128,128,128,.45)"
CELL = f"border:1px solid {LINE};padding:.15em .7em;text-align:left;vertical-align:top"
NUMBER = f"{CELL};text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"
SHOWN = 10  # findings before the rest is folded


def html(result: Result) -> str:
    """The whole result; the last fold holds its text, to be copied into a message."""
    colour = RED if not result.ok else GREEN if result.verdict == "ok" else BROWN
    badge = _badge(result.verdict if result.ok else result.headline, colour)
    words = f" {escape(result.healthy)}" if result.ok else ""
    spent = escape(f"{result.cost}, seed {result.seed}")
    parts = [
        _p(
            f"<strong>{escape(type(result).__name__)}</strong> {badge}{words} "
            f'<span style="opacity:.75">{spent}</span>'
        )
    ]
    findings = [_finding(n, f) for n, f in enumerate(result.findings, 1)]
    parts += findings[:SHOWN]
    if findings[SHOWN:]:
        parts.append(_fold(f"{len(findings) - SHOWN} more findings", findings[SHOWN:]))
    if result.notes:
        items = "".join(f"<li>{_word(n.kind)} {escape(n.what)}</li>" for n in result.notes)
        count = f"{len(result.notes)} note{'s' * (len(result.notes) > 1)}"
        parts.append(_fold(count, [f'<ul style="margin:.3em 0 .3em 1.5em">{items}</ul>']))
    text = f'<pre style="margin:.3em 0;white-space:pre-wrap;font-family:monospace">{escape(str(result))}</pre>'
    parts.append(_fold("as text", [text]))
    return (
        f'<div style="border-left:4px solid {colour};padding:.1em 0 .1em 1em;max-width:60em;'
        f'line-height:1.45;overflow-wrap:anywhere">{"".join(parts)}</div>'
    )


def _finding(n: int, f: Finding) -> str:
    """Its sentence, its place and numbers in a table, then the words."""
    colour = RED if f.severity == "wrong" else BROWN
    numbers = _numbers(f)
    more = f.times - 1
    rows = [
        ("where", "" if numbers else f.where),
        ("cause", f.cause),
        ("step", "" if f.step is None else f"{f.step}" + f" and {more} more" * (more > 0)),
        ("line", f.line),
        ("shown by", f.variation if f.step is None and not f.line else ""),
        ("also", f.also),
    ]
    words = "".join(f"{_word(name)} {escape(text)}<br>" for name, text in rows if text)
    if f.inputs:
        words += f"{_word('inputs')} <code>{escape(f.inputs)}</code>"
    head = f"<strong>{n}. {_badge(f.channel, colour)} {escape(f.what)}</strong>"
    body = _p(head) + numbers + (_p(words) if words else "")
    return f'<div style="margin:.8em 0">{body}</div>'


def _numbers(f: Finding) -> str:
    """where | yours | true | ratio, where there are numbers."""
    if f.yours is None or f.true is None:
        return ""
    cells = [
        ("where", escape(f.where), CELL),
        ("yours", f"{f.yours:.7g}", NUMBER),
        ("true", f"{f.true:.7g}", NUMBER),
        ("ratio", f"{f.yours / f.true:.4g}" if f.true else "-", NUMBER),
    ]
    cells = cells if f.where else cells[1:]
    head = "".join(f'<th scope="col" style="{style}">{name}</th>' for name, _, style in cells)
    row = "".join(f'<td style="{style}">{value}</td>' for _, value, style in cells)
    return (
        '<table style="border-collapse:collapse;margin:.3em 0;font-size:inherit">'
        f"<thead><tr>{head}</tr></thead><tbody><tr>{row}</tr></tbody></table>"
    )


def _badge(text: str, colour: str) -> str:
    return (
        f'<span style="background:{colour};color:#fff;border-radius:.3em;padding:.05em .5em">'
        f"{escape(text)}</span>"
    )


def _fold(summary: str, parts: Iterable[str]) -> str:
    return (
        f'<details style="margin:.3em 0"><summary style="cursor:pointer">{escape(summary)}</summary>'
        f"{''.join(parts)}</details>"
    )


def _p(inner: str) -> str:
    return f'<p style="margin:.3em 0">{inner}</p>'


def _word(word: str) -> str:
    return f'<span style="opacity:.75">{escape(word)}:</span>'
