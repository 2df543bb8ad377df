"""A class on paper: the roster, the plan of exercises, and who gets which.

    seed = HMAC-SHA256(secret, learner | week | slot)

Neighbours have different twins of one family and level; with the secret anybody can make them again.
"""

import csv
import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bugzoo.errors import UserError, did_you_mean
from bugzoo.learn import naive, pool
from bugzoo.learn.exercise import Exercise
from bugzoo.model import FAMILIES

FIELDS = ("week", "mode", "op", "family", "level", "same", "allow_autograd")
MODES = ("find", "fix", "detect")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class Slot:
    """One exercise of the plan. `same`: all learners get the same one."""

    number: int
    week: int
    mode: str
    op: str = ""
    family: str = ""
    level: int = 0
    same: bool = False
    allow_autograd: bool = False

    @property
    def name(self) -> str:
        return f"w{self.week}-{self.number}"


@dataclass(frozen=True)
class Learner:
    name: str
    team: str = ""


@dataclass(frozen=True)
class Plan:
    """The slots, and the learners of the roster."""

    slots: tuple[Slot, ...]
    title: str = "bugzoo class"
    weights: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> Plan:
    """plan.toml. UserError with the slot where something in it cannot be used."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--plan {path}: cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--plan {path}: not TOML: {error}") from None
    slots = data.get("slot")
    if not isinstance(slots, list) or not slots:
        raise UserError(
            f'--plan {path}: no [[slot]]. Each has a mode, say: [[slot]]\\nmode = "find"'
        )
    made = [_slot(path, n, row) for n, row in enumerate(slots, 1)]
    return Plan(tuple(made), str(data.get("title", "bugzoo class")), dict(data.get("weights", {})))


def _slot(path: Path, number: int, row: Any) -> Slot:
    at = f"--plan {path}, slot {number}"
    if not isinstance(row, dict):
        raise UserError(f"{at}: expected a table.")
    for key in row:
        if key not in FIELDS:
            near = did_you_mean(key, FIELDS)
            raise UserError(f"{at}: unknown '{key}'.{near} Known: {', '.join(FIELDS)}.")
    mode, op, family = (str(row.get(k, "")) for k in ("mode", "op", "family"))
    if mode not in MODES:
        raise UserError(f"{at}: mode '{mode}': expected one of {', '.join(MODES)}.")
    if op and op not in pool.ops():
        raise UserError(f"{at}: op '{op}' is unknown.{did_you_mean(op, pool.ops())}")
    if mode == "detect" and (not op or pool.kind_of(op) == "loop"):
        raise UserError(f"{at}: detect needs op, an operation.")
    if family and family not in FAMILIES:
        raise UserError(f"{at}: family '{family}' is unknown.{did_you_mean(family, FAMILIES)}")
    level, week = row.get("level", 0), row.get("week", 1)
    if type(level) is not int or not 0 <= level <= 5 or type(week) is not int or week < 1:
        raise UserError(f"{at}: level is a whole number from 1 to 5, week one from 1.")
    flags = [row.get(k, False) for k in ("same", "allow_autograd")]
    if any(type(f) is not bool for f in flags):
        raise UserError(f"{at}: same and allow_autograd are true or false.")
    return Slot(number, week, mode, op, family, level, *flags)


def roster(path: Path) -> tuple[Learner, ...]:
    """A CSV with a column learner, and team if there are teams. UserError where it has none."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise UserError(f"--roster {path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"--roster {path}: not UTF-8.") from None
    if not rows or "learner" not in rows[0]:
        raise UserError(
            f"--roster {path}: expected a first line 'learner,team' and a line a learner."
        )
    found = []
    for n, row in enumerate(rows, 2):
        name = (row["learner"] or "").strip()
        if not NAME.fullmatch(name):
            raise UserError(
                f"--roster {path}, line {n}: '{name}' cannot be the name of a folder: letters, digits "
                f"and . _ @ - only, 64 at most."
            )
        found.append(Learner(name, (row.get("team") or "").strip()))
    names = [x.name.lower() for x in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--roster {path}: '{name}' is in it twice.")
    return tuple(found)


def secret(path: Path) -> bytes:
    """The secret of a class. UserError where it is missing or too short to be one."""
    try:
        data = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"--secret-file {path}: cannot be read: {error.strerror}. Make one: "
            f"head -c 24 /dev/urandom | base64 > {path}"
        ) from None
    if len(data) < 12:
        raise UserError(
            f"--secret-file {path}: shorter than 12 characters; learners could guess it."
        )
    return data


def seed(key: bytes, learner: str, slot: Slot, what: str = "") -> int:
    """The seed of a learner's slot; `what` for another use of the same slot."""
    said = f"{'' if slot.same else learner}|{slot.week}|{slot.number}|{what}"
    return int.from_bytes(hmac.new(key, said.encode(), hashlib.sha256).digest()[:4], "big") % 10**9


def exercise(key: bytes, learner: str, slot: Slot) -> Exercise:
    """The exercise of a learner in a slot."""
    number = seed(key, learner, slot)
    if slot.mode == "detect":
        return pool.drawn("detect", number, slot.op)
    kind = pool.kind_of(slot.op) if slot.op else "operation"

    def fits(e: pool.Exhibit) -> bool:
        assert e.broken.label is not None
        fixable = slot.mode == "find" or e.broken.label.channel != "memory"
        return fixable and (not slot.level or naive.level(e) == slot.level)

    drawn = pool.draw(number, op=slot.op, family=slot.family, kind=kind, fits=fits)
    return Exercise(slot.mode, drawn.code, number)


def all_of(
    key: bytes, plan: Plan, learners: tuple[Learner, ...]
) -> Iterator[tuple[Learner, Slot, Exercise]]:
    for learner in learners:
        for slot in plan.slots:
            yield learner, slot, exercise(key, learner.name, slot)
