"""Folder scan: every file of this folder without a leading underscore is one table.

The file holds a function of its own name, trials -> DataFrame. The first line of its docstring is
printed above the table, the rest is the note below it. PLACE orders the tables; the default is last.
A table sees the bugs made by hand; one that says MUTANTS = True sees frozen mutants as well. None sees
the detectors whose peer was not installed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd

from bugzoo.errors import UserError, did_you_mean
from reports import _units


@dataclass(frozen=True)
class Table:
    """One report: calling it makes the frame."""

    name: str
    sentence: str
    note: str
    place: int
    make: Callable[[pd.DataFrame], pd.DataFrame]
    mutants: bool = False

    def __call__(self, trials: pd.DataFrame) -> pd.DataFrame:
        trials = _units.installed(trials)
        return self.make(trials if self.mutants else _units.handmade(trials))


def tables() -> dict[str, Table]:
    """All tables by name, in the order in which they are printed."""
    names = [p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")]
    found = sorted((_table(name) for name in names), key=lambda t: (t.place, t.name))
    return {t.name: t for t in found}


def table(name: str) -> Table:
    """The table called `name`. Raises UserError for an unknown name."""
    known = tables()
    if name not in known:
        raise UserError(
            f"unknown report '{name}'.{did_you_mean(name, known)} There are: {', '.join(known)}"
        )
    return known[name]


def _table(name: str) -> Table:
    module = import_module(f"{__package__}.{name}")
    make = getattr(module, name, None)
    if make is None or not module.__doc__:
        raise UserError(f"reports/{name}.py: expected a docstring and a function called '{name}'")
    sentence, _, note = inspect.cleandoc(module.__doc__).partition("\n")
    place, mutants = getattr(module, "PLACE", 99), getattr(module, "MUTANTS", False)
    return Table(name, sentence, note.strip(), place, make, mutants)
