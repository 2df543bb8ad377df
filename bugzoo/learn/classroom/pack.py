"""A folder for each learner: their exercises, a place for answers, and nothing about the answers."""

from pathlib import Path

from bugzoo.errors import UserError
from bugzoo.learn import views
from bugzoo.learn.classroom import plan as plans
from bugzoo.learn.exercise import Exercise
from bugzoo.learn.session import Session

ANSWER = "answer.txt"
ASK = {
    "find": f"find the wrong line in exhibit.py; write its number and the kind into {ANSWER}",
    "fix": "repair backward.py",
    "detect": "write check in check.py",
}


def write(
    out: Path, key: bytes, plan: plans.Plan, learners: tuple[plans.Learner, ...]
) -> list[Path]:
    """The folders, one a learner. UserError where one is there already."""
    made = []
    for learner in learners:
        folder = out / learner.name
        if folder.exists():
            raise UserError(f"{folder} exists already; choose another --out, or remove it.")
    for learner in learners:
        folder = out / learner.name
        held = Session(folder, learner.name)
        lines = [f"{plan.title}: {learner.name}", ""]
        for slot in plan.slots:
            exercise = plans.exercise(key, learner.name, slot)
            held.start(exercise, level=slot.level or None)
            lines.append(f"{slot.name}  {exercise.code:<14} {ASK[exercise.mode]}")
            if exercise.mode == "find":
                (folder / exercise.code / ANSWER).write_text(
                    "# the line, then the kind; for example: 15 scaling\n", encoding="utf-8"
                )
        lines += [
            "",
            f"Work in this folder: bugzoo learn --dir {learner.name} ; then hand in the folder.",
            "In find, 'bugzoo learn look NAME --code CODE' measures; the log counts what you bought.",
            "The answer that counts is that of answer.txt; without it, the last one in the log.",
        ]
        (folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        made.append(folder)
    return made


def preview(key: bytes, plan: plans.Plan, learner: plans.Learner) -> list[str]:
    """The learner's pack with its answers: for the teacher alone."""
    lines = []
    for slot in plan.slots:
        exercise = plans.exercise(key, learner.name, slot)
        lines += ["", f" {slot.name}  {exercise.mode}  {exercise.code}  seed {exercise.seed}"]
        if exercise.mode == "detect":
            lines.append(f"   {slot.op}: broken twins drawn by the seed")
            continue
        exhibit = _exhibit(exercise)
        said = ", ".join(map(str, exhibit.lines))
        lines.append(f"   line {said}; {exhibit.family}; {exhibit.broken.id}")
        lines += views.difference(exhibit)
    return lines


def _exhibit(exercise: Exercise):  # type: ignore[no-untyped-def]
    from bugzoo.learn import pool

    return pool.resolve(exercise.code)
