"""Progress: one JSON object for each event, appended, never rewritten. State is a fold over the file.

Two machines merge by `sort -u a b`: a line begins with its time. A last line that was torn by a
crash, or any other that is no event, is left out and told of once; the next event begins on a line of
its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bugzoo.errors import UserError
from bugzoo.learn.events import EVENTS as EVENTS
from bugzoo.learn.events import Damaged, moment, read, warning

if TYPE_CHECKING:
    import pandas as pd

NAME = ".log.jsonl"
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
    place: int = 0  # which question of `learn place` it is
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
    placed_at: str = ""
    places: int = 0  # rounds of `learn place` that came to their end
    warnings: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)  # marks of damaged lines not yet told of

    @property
    def solved(self) -> list[Record]:
        return [r for r in self.records.values() if r.state == "solved"]

    def open_one(self) -> Record | None:
        record = self.records.get(self.current)
        return record if record and record.state == "open" else None

    def due(self, today: str) -> list[str]:
        """Families whose day has come."""
        return sorted(f for f, b in self.families.items() if b.due and b.due <= today)


class Unwritten(UserError):
    """The folder cannot be written. `row`: the event that is lost with it."""

    def __init__(self, message: str, row: dict[str, Any]):
        super().__init__(message)
        self.row = row


class Log:
    """The log of a workspace."""

    def __init__(self, folder: Path, learner: str = ""):
        self.path = folder / NAME
        self.learner = learner or os.environ.get("BUGZOO_LEARNER", "")
        self.lost: list[dict[str, Any]] = []  # events that could not be written
        self.excuse = ""  # why, until it has been said

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
        try:
            _append(self.path, json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            raise Unwritten(
                f"{self.path} cannot be written: {error.strerror}. Make the folder "
                f"writable, or choose another with --dir or BUGZOO_EXERCISES.",
                row,
            ) from None

    def keep(self, event: str, **facts: Any) -> None:
        """Append an event; where the folder cannot be written, hold it as long as this process lives."""
        try:
            self.add(event, **facts)
        except Unwritten as error:
            self.lost.append(error.row)
            self.excuse = self.excuse or str(error)

    def events(self) -> list[dict[str, Any]]:
        """All events in the order of their times."""
        return self._read()[0]

    def _read(self) -> tuple[list[dict[str, Any]], list[Damaged]]:
        if not self.path.exists():
            return [], []
        try:
            return read(self.path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read: {error.strerror}. Make it readable, or choose another "
                f"folder with --dir or BUGZOO_EXERCISES."
            ) from None

    def progress(self) -> Progress:
        state = Progress()
        events, bad = self._read()
        for event in [*events, *self.lost]:
            fold(state, event)
        told = {m for e in events if e["event"] == "damage" for m in e.get("lines") or []}
        fresh = [b for b in bad if b.mark not in told]
        state.damage = [b.mark for b in fresh]
        state.warnings = [w for w in (warning(str(self.path), fresh),) if w]
        return state

    def told(self, damage: list[str]) -> None:
        """Remember that the user has been told of damaged lines, if that can be written at all."""
        if damage:
            with suppress(UserError):
                self.add("damage", lines=damage)


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
        state.placed_at = event["time"]
        state.done_steps |= set(event.get("steps") or [])
        return
    mode, code = str(event.get("mode", "")), str(event.get("code", ""))
    if not code:
        return
    key = f"{mode}:{code}"
    record = state.records.setdefault(key, Record(mode, code))
    if kind in ("start", "review"):
        if record.state in ("skipped", "given up") and record.started:
            record.state = "open"  # not where a slow clock has put the end before the beginning
        record.started = record.started or event["time"]
        record.seed = int(event.get("seed") or 0)
        record.op = str(event.get("op") or record.op)
        record.level = event.get("level") or record.level
        record.step = event.get("step") if event.get("step") is not None else record.step
        record.review = record.review or kind == "review"
        record.place = event.get("place") or record.place
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
    day = moment(record.closed)
    box.due = (day + timedelta(days=BOXES[box.box - 1])).isoformat()[:10]


def _append(path: Path, line: str) -> None:
    """One write: two processes do not mix their lines. Behind a torn line it begins a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and not _ends_well(path)
    with open(path, "ab") as file:
        file.write((b"\n" if torn else b"") + line.encode())


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
    listed = [e for e in events if e["event"] != "damage"]
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
    return (moment(b) - moment(a)).total_seconds()


def frame(folder: str | Path = "exercises") -> pd.DataFrame:
    """The log of a workspace as a DataFrame, one row an event."""
    import pandas as pd

    return pd.DataFrame(rows(Log(Path(folder)).events()), columns=list(COLUMNS))
