"""Progress: one JSON object for each event, appended, never rewritten. State is a fold over the file.

Two machines merge by `sort -u a b`: a line begins with its time. A last line that was torn by a
crash is left out with a warning; the next event begins on a line of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bugzoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NAME = ".log.jsonl"
EVENTS = (
    "start", "look", "hint", "answer", "check", "solve", "giveup", "skip", "review", "place", "reset",
)  # fmt: skip
COLUMNS = (
    "learner", "team", "time", "event", "code", "mode", "op", "family", "level", "seed", "attempt",
    "seconds_since_start", "right", "line_answered", "line_true", "kind_answered", "kind_true",
    "instrument", "rung", "cases_failed", "cases", "caught", "twins", "false_alarms", "forwards",
    "ops", "regressions", "bugzoo", "torch", "catalog",
)  # fmt: skip
BOXES = (1, 3, 8, 20, 60)  # days until a family comes again
RIGHT_AFTER_HINTS = 1  # hints that still count as solved by oneself


@dataclass
class Record:
    """What became of one exercise."""

    mode: str
    code: str
    seed: int = 0
    op: str = ""
    level: int | None = None
    family: str = ""
    started: str = ""
    tries: int = 0
    hints: int = 0
    looks: list[str] = field(default_factory=list)
    wrong: int = 0
    state: str = "open"  # open, solved, given up, skipped
    closed: str = ""
    step: int | None = None
    review: bool = False
    bugzoo: str = ""

    @property
    def key(self) -> str:
        return f"{self.mode}:{self.code}"


@dataclass
class Box:
    """A family's place in the spacing: which box, and the day on which it comes again."""

    box: int = 0
    due: str = ""


@dataclass
class Progress:
    """State, folded from events. `warnings`: what could not be read, in sentences."""

    records: dict[str, Record] = field(default_factory=dict)
    families: dict[str, Box] = field(default_factory=dict)
    current: str = ""
    done_steps: set[int] = field(default_factory=set)
    placed: int | None = None
    places: int = 0  # rounds of `learn place` that came to their end
    warnings: list[str] = field(default_factory=list)

    @property
    def solved(self) -> list[Record]:
        return [r for r in self.records.values() if r.state == "solved"]

    def open_one(self) -> Record | None:
        record = self.records.get(self.current)
        return record if record and record.state == "open" else None

    def due(self, today: str) -> list[str]:
        """Families whose day has come."""
        return sorted(f for f, b in self.families.items() if b.due and b.due <= today)


class Log:
    """The log of a workspace."""

    def __init__(self, folder: Path, learner: str = ""):
        self.path = folder / NAME
        self.learner = learner or os.environ.get("BUGZOO_LEARNER", "")

    def add(self, event: str, **facts: Any) -> None:
        """Append an event. UserError where the folder cannot be written."""
        import bugzoo

        row = {"time": now(), "event": event}
        if self.learner:
            row["learner"] = self.learner
        row |= {k: v for k, v in facts.items() if v is not None}
        row["bugzoo"] = bugzoo.__version__
        if "torch" in sys.modules:
            row["torch"] = str(sys.modules["torch"].__version__)
        line = json.dumps(row, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and not _ends_well(self.path)
            with open(self.path, "ab") as file:  # one write: two processes do not mix their lines
                file.write((b"\n" if torn else b"") + line.encode())
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written: {error.strerror}. Your answer is not recorded. Make the "
                f"folder writable, or choose another with --dir or BUGZOO_EXERCISES."
            ) from None

    def events(self, warnings: list[str] | None = None) -> list[dict[str, Any]]:
        """All events in the order of their times."""
        if not self.path.exists():
            return []
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}.") from None
        found = list(_read(lines, self.path, warnings if warnings is not None else []))
        unique = {json.dumps(e, sort_keys=True): e for e in found}
        return sorted(unique.values(), key=lambda e: e["time"])

    def progress(self) -> Progress:
        state = Progress()
        for event in self.events(state.warnings):
            fold(state, event)
        return state


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def today() -> str:
    return now()[:10]


def fold(state: Progress, event: dict[str, Any]) -> None:
    """Take one event into the state."""
    kind = event["event"]
    if kind == "place":
        state.placed = int(event.get("level") or 0)
        state.places += 1
        state.done_steps |= set(event.get("steps") or [])
        return
    mode, code = str(event.get("mode", "")), str(event.get("code", ""))
    if not code:
        return
    key = f"{mode}:{code}"
    record = state.records.setdefault(key, Record(mode, code))
    if kind in ("start", "review"):
        if record.state in ("skipped", "given up") or not record.started:
            record.state = "open"
        record.started = record.started or event["time"]
        record.seed = int(event.get("seed") or 0)
        record.op = str(event.get("op") or record.op)
        record.level = event.get("level") or record.level
        record.step = event.get("step") if event.get("step") is not None else record.step
        record.review = record.review or kind == "review"
        record.bugzoo = str(event.get("bugzoo") or "")
        state.current = key
    elif kind == "look":
        record.looks.append(str(event.get("instrument")))
    elif kind == "hint":
        record.hints = max(record.hints, int(event.get("rung") or 1))
    elif kind in ("answer", "check"):
        record.tries += 1
        record.wrong += not event.get("right")
    elif kind == "skip":
        record.state = "skipped"
        state.current = "" if state.current == key else state.current
    elif kind in ("solve", "giveup") and record.state != "solved":
        record.state = "solved" if kind == "solve" else "given up"
        record.closed = event["time"]
        record.family = str(event.get("family") or "")
        record.level = event.get("level") or record.level
        step = event.get("step", record.step)
        if isinstance(step, int):
            state.done_steps.add(step)
        if record.family:
            _space(state, record)


def _space(state: Progress, record: Record) -> None:
    """Solved with one hint at most: a box up. Given up: back to the first."""
    box = state.families.setdefault(record.family, Box())
    early = record.state == "solved" and record.closed[:10] < box.due
    if early:
        return  # several in one sitting are one lesson
    if record.state == "given up":
        box.box = 1
    elif record.hints <= RIGHT_AFTER_HINTS:
        box.box = min(box.box + 1, len(BOXES))
    else:
        box.box = max(box.box, 1)
    day = datetime.fromisoformat(record.closed.replace("Z", "+00:00"))
    box.due = (day + timedelta(days=BOXES[box.box - 1])).isoformat()[:10]


def _read(lines: list[bytes], path: Path, warnings: list[str]) -> Iterator[dict[str, Any]]:
    last = len(lines) - 1
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
            assert event["event"] in EVENTS
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            torn = number == last + 1
            warnings.append(
                f"{path}, line {number} is {'torn' if torn else 'no event'} and was left out; "
                f"{'that is harmless' if torn else 'all other lines count. Was the file edited?'}"
            )
            continue
        yield event


def _ends_well(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def rows(
    events: Iterable[dict[str, Any]], learner: str = "", team: str = ""
) -> list[dict[str, Any]]:
    """Tidy rows, one an event, with all COLUMNS. What the answer was is blank while the item is open."""
    listed = list(events)
    closed = {
        (e.get("learner"), e.get("mode"), e.get("code"))
        for e in listed
        if e["event"] in ("solve", "giveup")
    }
    started: dict[Any, str] = {}
    attempts: dict[Any, int] = {}
    made = []
    for e in listed:
        key = (e.get("learner"), e.get("mode"), e.get("code"))
        row = {c: e.get(c) for c in COLUMNS}
        row["learner"] = e.get("learner") or learner
        row["team"] = e.get("team") or team
        started.setdefault(key, e["time"])
        row["seconds_since_start"] = round(_seconds(started[key], e["time"]), 1)
        if e["event"] in ("answer", "check"):
            attempts[key] = attempts.get(key, 0) + 1
        row["attempt"] = attempts.get(key)
        if key not in closed:
            row["line_true"] = row["kind_true"] = row["family"] = None
        made.append(row)
    return made


def _seconds(a: str, b: str) -> float:
    one, two = (datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (a, b))
    return (two - one).total_seconds()


def frame(folder: str | Path = "exercises") -> pd.DataFrame:
    """The log of a workspace as a DataFrame, one row an event."""
    import pandas as pd

    return pd.DataFrame(rows(Log(Path(folder)).events()), columns=list(COLUMNS))
