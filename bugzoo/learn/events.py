"""The lines of a log: which are events, and which are damaged and to be told once.

A line counts only if every field that is read later has its type: what another program, another
machine or an editor has left in the file must not end a command.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bugzoo.learn.exercise import DRAWN, HASHED, MODES

EVENTS = (
    "start", "look", "hint", "answer", "check", "solve", "giveup", "skip", "review", "place", "reset",
    "damage",
)  # fmt: skip
NUMBERS = (
    "seed", "level", "step", "place", "rung", "line_answered", "line_true", "cases", "cases_failed", "caught",
    "twins", "false_alarms", "ops", "regressions",
)  # fmt: skip
WORDS = (
    "code", "mode", "op", "family", "learner", "team", "instrument", "kind_answered", "kind_true",
    "bugzoo", "torch",
)  # fmt: skip
LISTS = {"steps": int, "lines": str}


@dataclass(frozen=True)
class Damaged:
    """A line that is no event. `torn`: the last one, without its end."""

    number: int
    mark: str
    torn: bool


def read(data: bytes) -> tuple[list[dict[str, Any]], list[Damaged]]:
    """Events in the order of their times, each once; and the lines that are none."""
    lines = data.split(b"\n")
    found: dict[str, dict[str, Any]] = {}
    bad = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        event = parsed(line)
        if event is None:
            bad.append(Damaged(number, mark(line), number == len(lines)))
        else:
            found[json.dumps(event, sort_keys=True)] = event
    return sorted(found.values(), key=lambda e: moment(e["time"])), bad


def parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it is none."""
    try:
        event = json.loads(line)
        if not isinstance(event, dict) or event["event"] not in EVENTS:
            return None
        if not 2000 <= moment(event["time"]).year <= 9000:
            return None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    fine = (
        all(_is(event.get(k), int) for k in NUMBERS)
        and all(_is(event.get(k), str) for k in WORDS)
        and all(_all(event.get(k), kind) for k, kind in LISTS.items())
        and event.get("step") in (None, *range(1, 31))
    )
    code = event.get("code")
    fine = fine and event.get("mode") in (None, *MODES)
    fine = fine and (not code or bool(HASHED.fullmatch(code) or DRAWN.fullmatch(code)))
    return event if fine else None


def moment(time: str) -> datetime:
    """The moment that a time names; one without a zone is taken for UTC."""
    read = datetime.fromisoformat(time.replace("Z", "+00:00"))
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def mark(line: bytes) -> str:
    """What a damaged line is remembered by."""
    return hashlib.sha256(line.strip()).hexdigest()[:12]


def warning(path: str, bad: Iterable[Damaged]) -> str:
    """One message about damaged lines: which, what it costs, what to do. '' where there is none."""
    listed = list(bad)
    if not listed:
        return ""
    if len(listed) == 1 and listed[0].torn:
        return (
            f"{path}, line {listed[0].number} is torn: a command was stopped while it wrote. It is left out, "
            f"all other lines count; there is nothing to do. This is said once."
        )
    shown = ", ".join(str(b.number) for b in listed[:5]) + (", ..." if len(listed) > 5 else "")
    many = f"{len(listed)} lines ({shown}) are" if len(listed) > 1 else f"line {shown} is"
    return (
        f"{path}: {many} no event that this version knows and left out; all other lines count. "
        f"If you miss something, merge a copy of the file into it with 'sort -u'; else leave it as it is. This "
        f"is said once."
    )


def _is(value: Any, kind: type) -> bool:
    return value is None or (isinstance(value, kind) and not isinstance(value, bool))


def _all(value: Any, kind: type) -> bool:
    return value is None or (isinstance(value, list) and all(_is(v, kind) for v in value))
