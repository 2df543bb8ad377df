"""The school's screens as text: at most 78 columns, no box characters, colour only where it is wanted."""

import os
import sys
import textwrap
from collections.abc import Iterable
from datetime import date

from bugzoo.learn import path as paths
from bugzoo.learn.log import Progress, Record, today

WIDTH = 78
RULE = " " + "-" * (WIDTH - 2)
KEYS = {
    "find": "look NAME   answer LINE KIND   h hint   e explain   l list   q quit",
    "fix": "c check   h hint   x reset   l list   q quit   (it checks when you save)",
    "detect": "c check   h hint   x reset   l list   q quit   (it checks when you save)",
    "plant": "c check   h hint   x reset   l list   q quit   (it checks when you save)",
    "aside": "n next   l list   q quit",
    "done": "n next   e explain   l list   q quit",
}
_CODES = {"red": "31", "green": "32", "bold": "1", "dim": "2", "yellow": "33"}


def coloured(plain: bool) -> bool:
    """Colour: on a terminal, without NO_COLOR, without --plain."""
    return not plain and not os.environ.get("NO_COLOR") and sys.stdout.isatty()


def paint(text: str, style: str, on: bool) -> str:
    return f"\033[{_CODES[style]}m{text}\033[0m" if on and text else text


def wrapped(text: str, indent: str = " ", further: str = "") -> list[str]:
    """Lines of at most WIDTH columns; a long word, an address say, stays whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=further or indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def cut(line: str) -> str:
    """A line of numbers or code, cut at the edge of the screen with a mark."""
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."


def folded(line: str) -> list[str]:
    """A line of code, whole: what does not fit goes on below, deeper, without a number."""
    found: list[str] = []
    indent = " " * (len(line[7:]) - len(line[7:].lstrip()) + 15)
    while len(line) > WIDTH:
        at = _seam(line, len(indent) + 8)
        found.append(line[:at])
        line = indent + line[at:].lstrip()
    return [*found, line]


def _seam(line: str, least: int) -> int:
    """Where a long line is folded: the last space in the fewest brackets, in its right half."""
    depth, best, at = 0, 99, WIDTH
    for n, c in enumerate(line[:WIDTH]):
        depth += (c in "([{") - (c in ")]}")
        if c == " " and n >= max(least, WIDTH // 2) and depth <= best:
            best, at = depth, n
    return at


def bar(done: int, of: int, width: int = 10) -> str:
    filled = round(width * done / of) if of else 0
    return f"[{'#' * filled}{'.' * (width - filled)}] {done}/{of}"


def title(left: str, right: str = "") -> str:
    room = max(len(left), WIDTH - len(right) - 2)
    return f" {left:<{room}} {right}".rstrip()[:WIDTH]


def keys(mode: str) -> str:
    return f" {KEYS[mode]}"


def welcome(progress: Progress, folder: str) -> list[str]:
    """The first screen: needs no torch, so that it is there at once."""
    done = len(progress.done_steps)
    lines = [title("bugzoo learn", bar(done, len(paths.STEPS))), RULE]
    if not progress.records and progress.placed is None:
        lines += [
            *wrapped("Find a wrong gradient from its symptoms, repair it without breaking another case, "
                     "write a check that catches it. Nothing here shows in a loss curve."),
            "",
        ]  # fmt: skip
        for n, name in enumerate(paths.PARTS):
            lines.append(f"   {n + 1}  {name}")
        hours = sum(s.minutes for s in paths.STEPS) / 60
        lines += [
            "",
            *wrapped(f"30 exercises, about {hours:.0f} hours. They will lie in {folder}/."),
        ]
        lines += ["", " n start with the first   p place me (six questions)   l list   q quit"]
        return lines
    for n, name in enumerate(paths.PARTS):
        of = [s.number for s in paths.STEPS if s.part == n]
        have = sum(k in progress.done_steps for k in of)
        lines.append(f"   {n + 1}  {name:<44} {'#' * have}{'.' * (len(of) - have)}")
    lines.append("")
    due = progress.due(today())
    if due:
        lines += wrapped(f"Due for review: {', '.join(due)}")
    if record := progress.open_one():
        lines += wrapped(f"Open: {record.mode} {record.code}, {record.op}")
    return lines


def _in_days(day: str) -> str:
    if day == "-" or day <= today():
        return day if day == "-" else "today"
    days = (date.fromisoformat(day) - date.fromisoformat(today())).days
    return f"{days} day{'s' * (days != 1)}"


def listing(records: Iterable[Record], progress: Progress) -> list[str]:
    """The table of exercises."""
    lines = [" code          mode    op               level  state     tries  hints  due"]
    shown = list(records)
    for r in shown:
        box = progress.families.get(r.family)
        due = box.due if box and box.due and r.state != "open" else "-"
        lines.append(
            f" {r.code[:13]:<13} {r.mode:<7} {r.op[:16]:<16} {r.level or '-':>5}  {r.state:<8} "
            f"{r.tries:>6}  {r.hints:>5}  {_in_days(due)}"
        )
    solved = len(progress.solved)
    met = [f for f in progress.families if f]
    lines += [
        "",
        *wrapped(
            f"{solved} solved, {len(progress.due(today()))} families due, {len(met)} families met; "
            f"path {len(progress.done_steps)} of {len(paths.STEPS)}"
        ),
    ]
    return lines if shown else [" nothing here yet: 'bugzoo learn next' starts the path"]
