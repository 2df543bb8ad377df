"""One learner's workspace: the exercise that is open, what was done to it, what comes next.

exercises/LN-96f6c6/backward.py      the file to edit; .log.jsonl beside the folders holds progress
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bugzoo.errors import UserError
from bugzoo.learn import path as paths
from bugzoo.learn.exercise import Exercise, parse
from bugzoo.learn.log import Log, Progress, Record, today
from bugzoo.learn.screen import wrapped

if TYPE_CHECKING:
    from bugzoo.learn.pool import Exhibit

ENV = "BUGZOO_EXERCISES"


@dataclass(frozen=True)
class Next:
    """What comes next: an exercise, and why. `step`: its place in the path, if it has one."""

    exercise: Exercise
    why: str
    step: paths.Step | None = None


class Session:
    """A workspace folder. Nothing needs torch until an exhibit is asked for."""

    def __init__(self, folder: str | Path = "", learner: str = ""):
        self.folder = Path(folder or os.environ.get(ENV, "") or "exercises")
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file: name a folder with --dir.")
        self.log = Log(self.folder, learner)

    @property
    def progress(self) -> Progress:
        return self.log.progress()

    def file(self, exercise: Exercise) -> Path:
        return self.folder / exercise.code / exercise.file

    def exhibit(self, exercise: Exercise) -> Exhibit:
        from bugzoo.learn import pool

        try:
            return pool.resolve(exercise.code)
        except UserError as error:
            record = self.progress.records.get(exercise.key)
            made = f" It was made with bugzoo {record.bugzoo}." if record and record.bugzoo else ""
            if record and record.state == "open":
                made += f" 'bugzoo learn skip {exercise.code}' puts it aside, and 'next' goes on."
            raise UserError(f"{error}{made}") from None

    def current(self, code: str = "", mode: str = "") -> tuple[Exercise, Record]:
        """The exercise that is meant: the one named, else the open one. UserError where there is none."""
        progress = self.progress
        if code:
            asked = parse(code, mode)
            found = [r for r in progress.records.values() if r.code == asked.code]
            if mode:
                found = [r for r in found if r.mode == mode]
            if not found:
                raise UserError(
                    f"{asked.code} has not been started here. 'bugzoo learn start {asked.code}' starts "
                    f"it; workspace: {self.folder}"
                )
            record = max(found, key=lambda r: r.state == "open")
        else:
            found_one = progress.open_one() or progress.records.get(progress.current)
            if found_one is None:
                raise UserError(
                    f"no exercise is open in {self.folder}. 'bugzoo learn next' starts one; if you have "
                    f"moved the folder, name it with --dir."
                )
            record = found_one
        return Exercise(record.mode, record.code, record.seed), record

    def start(
        self,
        exercise: Exercise,
        *,
        step: int | None = None,
        level: int | None = None,
        review: bool = False,
        place: int | None = None,
    ) -> Path:
        """Write the exercise's file, never over one that is there, and note the start."""
        from bugzoo.learn import naive, pool

        target = self.file(exercise)
        text = self.text(exercise)
        self._write(target, text)
        if level is None and exercise.mode in ("find", "fix"):
            level = naive.level(self.exhibit(exercise), exercise.seed)
        facts: dict[str, Any] = {"op": pool.of(exercise), "seed": exercise.seed, "level": level}
        if step is not None:
            facts["step"] = step
        if place is not None:
            facts["place"] = place
        again = exercise.key in self.progress.records
        self.note("review" if review else "start", exercise, keep=again, **facts)
        return target

    def text(self, exercise: Exercise) -> str:
        """The exercise's file as it is handed out."""
        from bugzoo.learn import detect, fix, plant, pool

        if exercise.mode == "detect":
            return detect.template(pool.of(exercise), exercise.code)
        if exercise.mode == "plant":
            return plant.template(pool.of(exercise), exercise.code)
        exhibit = self.exhibit(exercise)
        return exhibit.shown if exercise.mode == "find" else fix.source(exhibit, exercise.seed)

    def _write(self, target: Path, text: str) -> None:
        if target.exists():
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{target} cannot be written: {error.strerror}. Make the folder writable, or choose "
                f"another with --dir or {ENV}."
            ) from None

    def restored(self, exercise: Exercise) -> list[str]:
        """Write an open exercise's file where it is gone, as after a merge of logs alone; what was done."""
        target = self.file(exercise)
        if target.exists():
            return []
        try:
            self._write(target, self.text(exercise))
        except UserError as error:
            return wrapped(str(error))
        return [*wrapped(f"{target} was not here: it is written as it was handed out."), ""]

    def reset(self, exercise: Exercise) -> tuple[Path, Path | None]:
        """The exercise's file as it was handed out; the learner's is kept under a number."""
        target = self.file(exercise)
        kept: Path | None = None
        if target.exists():
            numbered = (target.with_name(f"{target.name}.{n}") for n in count(1))
            kept = next(p for p in numbered if not p.exists())
            try:
                shutil.move(target, kept)
            except OSError as error:
                raise UserError(
                    f"{target} cannot be moved: {error.strerror}. Make the folder writable, or choose "
                    f"another with --dir or {ENV}."
                ) from None
        self._write(target, self.text(exercise))
        self.note("reset", exercise)
        return target, kept

    def note(self, event: str, exercise: Exercise, keep: bool = False, **facts: Any) -> None:
        """Write an event. `keep`: where it cannot be written it counts here all the same, see `excuse`."""
        write = self.log.keep if keep else self.log.add
        write(event, mode=exercise.mode, code=exercise.code, **facts)

    def excuse(self) -> str:
        """Why something was not stored, said once; '' where all is."""
        said, self.log.excuse = self.log.excuse, ""
        return said

    def close(self, exercise: Exercise, event: str, **facts: Any) -> None:
        """Solved or given up: only now the family and the line are written down."""
        from bugzoo.learn import naive, pool

        record = self.progress.records.get(exercise.key)
        if record is not None and record.state in ("solved", "given up"):
            return
        told: dict[str, Any] = {"op": pool.of(exercise)}
        if exercise.mode in ("find", "fix"):
            exhibit = self.exhibit(exercise)
            told |= {
                "family": exhibit.family,
                "kind_true": exhibit.family,
                "line_true": exhibit.lines[0] if exhibit.lines else None,
                "level": naive.level(exhibit, exercise.seed),
            }
        self.note(event, exercise, keep=event == "solve", **(told | facts))

    def next(self) -> Next | None:
        """What is open, else what is due, else the next step of the path; None at the end of all."""
        progress = self.progress
        if record := progress.open_one():
            step = paths.STEPS[record.step - 1] if record.step else None
            exercise = Exercise(record.mode, record.code, record.seed)
            return Next(exercise, "it is open", step)
        if due := progress.due(today()):
            return self.review(due[0])
        return self.on_path(progress)

    def on_path(self, progress: Progress) -> Next | None:
        """The first step of the path that is neither solved nor skipped over."""
        skipped = {r.step for r in progress.records.values() if r.state == "skipped"}
        left = [s for s in paths.STEPS if s.number not in progress.done_steps]
        ahead = [s for s in left if s.number not in skipped] or left
        if not ahead:
            return None
        return Next(
            self.of_step(ahead[0]), f"step {ahead[0].number} of {len(paths.STEPS)}", ahead[0]
        )

    def of_step(self, step: paths.Step) -> Exercise:
        """The exercise of a step, the same for everybody."""
        from bugzoo.learn import pool

        if step.mode in ("detect", "plant"):
            return pool.drawn(step.mode, step.number, step.op)
        return Exercise(step.mode, pool.named(step.about).code, step.number)

    def step_of(self, exercise: Exercise) -> paths.Step | None:
        """The step of the path that an exercise is, also where it was started by its code."""
        record = self.progress.records.get(exercise.key)
        if record is not None and record.step:
            return paths.STEPS[record.step - 1]
        for step in paths.STEPS:
            if step.mode != exercise.mode:
                continue
            if exercise.mode in ("detect", "plant"):
                if self.of_step(step) == exercise:
                    return step
            elif step.about == self.exhibit(exercise).broken.id:
                return step
        return None

    def review(self, family: str) -> Next:
        """A mistake of a family that is due: always one that has not been seen."""
        from bugzoo.learn import pool

        progress = self.progress
        seen = {r.code for r in progress.records.values()}
        box = progress.families.get(family)
        salt = f"{family}:{box.due if box else ''}:{len(seen)}"
        kind = "loop" if _of_loops(family) else "operation"
        drawn = pool.draw(salt, family=family, kind=kind, fits=lambda e: e.code not in seen)
        return Next(Exercise("find", drawn.code, _seed(salt)), f"{family} is due for review")

    def places(self) -> list[Exercise]:
        """The six questions of `learn place`; another round draws others."""
        from bugzoo.learn import pool

        salt = f"{self.log.learner}:{self.progress.places}"
        made = []
        for number, (mode, op, family) in enumerate(paths.PLACES, 1):
            found = pool.draw(f"place:{number}:{salt}", op=op, family=family, kind=pool.kind_of(op))
            made.append(Exercise(mode, found.code, number))
        return made


def _seed(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16)


def _of_loops(family: str) -> bool:
    return family in (
        "accumulation-zeroing",
        "hooks-clip-optimizer",
        "distributed",
        "memory-retention",
    )
