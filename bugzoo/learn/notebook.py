"""The school in a notebook: the same objects, no magics. Nothing shown holds an answer.

    ex = learn.start("LN-d1e387")       # find
    ex.look("onehot"); ex.answer(15, "wrong-math")
    ex = learn.start("LN-d1e387", mode="fix"); ex.check(MyLayerNorm)
    ex = learn.start("LN-all-41"); ex.score(check)

`look`, `check` and `score` are free of side effects: a cell that is run again changes nothing. Only
`answer` and `submit` are written into the log.
"""

from __future__ import annotations

import html
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bugzoo.errors import UserError
from bugzoo.learn import detect, find, fix, judge, views
from bugzoo.learn import exercise as exercises
from bugzoo.learn.exercise import Exercise
from bugzoo.learn.session import Session

if TYPE_CHECKING:
    import pandas as pd


def _columns(text: str) -> str:
    """As HTML in which columns stay columns; not every theme of notebooks sets `pre` in one width."""
    return f'<pre style="font-family:monospace">{html.escape(text)}</pre>'


class Shown:
    """Lines that a notebook shows as they are."""

    def __init__(self, lines: list[str], **facts: Any):
        self.lines = lines
        self.__dict__.update(facts)

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return _columns(repr(self))


class Answered(Shown):
    """`right`: line and kind. Shows the evidence, never the answer."""

    right: bool


class Checked(Shown):
    """`solved`, and the report; `to_dict()` for a grader's cell."""

    solved: bool
    found: Any

    def to_dict(self) -> dict[str, Any]:
        return self.found.to_dict()


class Bench:
    """An exercise in a notebook. `ex` shows the task; the exercise itself is `ex.exercise`."""

    def __init__(self, exercise: Exercise, session: Session | None = None):
        self.exercise, self.session = exercise, session
        self._looks: list[str] = []

    @property
    def code(self) -> str:
        return self.exercise.code

    @property
    def source(self) -> str:
        """The program as it is shown."""
        return Session().text(self.exercise)

    def _exhibit(self) -> Any:
        from bugzoo.learn import pool

        return pool.resolve(self.exercise.code)

    def __repr__(self) -> str:
        from bugzoo.learn import pool
        from bugzoo.learn.log import Record

        op = pool.of(self.exercise)
        head = views.heading(self.exercise, op, None)
        if self.exercise.mode == "find":
            record = Record("find", self.code, looks=list(self._looks))
            body = views.find_task(self._exhibit(), self.exercise, record)
            keys = ' ex.look("norm")   ex.answer(LINE, "KIND")'
        elif self.exercise.mode == "fix":
            body, keys = (
                views.fix_task(self._exhibit(), "this notebook")[:-2],
                " ex.check(YourClass)",
            )
        else:
            body, keys = views.formula(op), " ex.score(check)"
        return "\n".join([*head, *body, "", keys])

    def _repr_html_(self) -> str:
        return _columns(repr(self))

    def look(self, name: str) -> Reading:
        """find: the reading of an instrument; its numbers as a DataFrame with `.frame`."""
        self._must("find")
        found = find.look(self._exhibit(), self.exercise.seed, name)
        price = find.instrument_from(name, self._exhibit(), self.exercise.seed).price
        if name not in self._looks:
            self._looks.append(name)
            if self.session is not None:
                self.session.note("look", self.exercise, op=self._exhibit().op, instrument=name)
        return Reading(views.reading(name, found, price), found.values)

    def answer(self, line: int, kind: str = "") -> Answered:
        """find: name the line and the kind. With a workspace it is written into the log."""
        self._must("find")
        exhibit = self._exhibit()
        number = find.line_from(str(line), exhibit)
        word = find.kind_from(kind, exhibit) if kind else ""
        given = find.answer(exhibit, self.exercise.seed, number, word, self._looks)
        lines = list(given.words) or [f"Right: line {number}."]
        if self.session is not None:
            self.session.note(
                "answer", self.exercise, op=exhibit.op, right=given.right, line_answered=number,
                kind_answered=word or None,
            )  # fmt: skip
            if given.right:
                self.session.close(self.exercise, "solve")
        return Answered(lines, right=given.right)

    def check(self, program: Any) -> Checked:
        """fix: the report on your class, or on its text. Nothing is logged."""
        self._must("fix")
        exhibit = self._exhibit()
        if isinstance(program, str):
            found = fix.check(exhibit, self.exercise.seed, f"<{self.code}>", text=program)
        else:
            found = self._class(exhibit, program)
        return Checked(views.report(found, 0.0), solved=found.solved, found=found)

    def _class(self, exhibit: Any, program: Any) -> judge.Report:
        """A class that lives in the notebook: measured as it is."""
        if not hasattr(program, "apply") and exhibit.right.kind == "operation":
            raise UserError(
                f"check takes your class {exhibit.name}, or its text; got {program!r:.60}"
            )
        held = fix.bench(exhibit, self.exercise.seed)
        found = judge.examine(held, fix.measured(held, program))
        remarks = []
        try:
            text = textwrap.dedent(inspect.getsource(program))
            said = fix.program.asks_autograd(text, exhibit.shown)
            remarks += [said] if said else []
        except (OSError, TypeError, SyntaxError):
            pass
        return judge.Report(found, fix.before(exhibit, self.exercise.seed), remarks)

    def score(self, check: Callable[..., Any]) -> Checked:
        """detect: your check on broken twins and right programs. Nothing is logged."""
        self._must("detect")
        from bugzoo.learn import pool

        found = detect.score(pool.of(self.exercise), self.exercise.seed, "<cell>", check=check)
        return Checked(views.score(found), solved=found.solved, found=found)

    def submit(self, thing: Any) -> Checked:
        """`check` or `score`, and write it into the log of the workspace."""
        if self.session is None:
            raise UserError('submit needs a workspace: learn.start(code, folder="exercises")')
        from bugzoo.learn import pool

        found = self.check(thing) if self.exercise.mode == "fix" else self.score(thing)
        self.session.note("check", self.exercise, op=pool.of(self.exercise), right=found.solved)
        if found.solved:
            self.session.close(self.exercise, "solve")
        return found

    def _must(self, mode: str) -> None:
        if self.exercise.mode != mode:
            does = {
                "find": "look and answer",
                "fix": "check",
                "detect": "score",
                "plant": "the terminal",
            }
            raise UserError(
                f"{self.code} is an exercise of '{self.exercise.mode}': use {does[self.exercise.mode]}."
            )


class Reading(Shown):
    """A reading; `frame` holds its numbers."""

    def __init__(self, lines: list[str], values: dict[str, float]):
        super().__init__(lines)
        self.values = values

    @property
    def frame(self) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame({"what": list(self.values), "value": list(self.values.values())})


def start(code: str, *, mode: str = "", seed: int = 0, folder: str | Path = "") -> Bench:
    """The exercise that a code names. With `folder`, answers and submissions go into its log."""
    exercise = exercises.parse(code, mode, seed)
    session = Session(folder) if folder else None
    if exercise.mode in ("find", "fix"):
        from bugzoo.learn import pool

        pool.resolve(exercise.code)
    if session is not None:
        session.start(exercise)
    return Bench(exercise, session)


def check(code: str, thing: Any, *, mode: str = "fix") -> Checked:
    """In one call, for a grader's cell: `assert learn.check("LN-d1e387", MyLayerNorm).solved`."""
    ex = start(code, mode="" if "-all-" in code else mode)
    return ex.check(thing) if ex.exercise.mode == "fix" else ex.score(thing)
