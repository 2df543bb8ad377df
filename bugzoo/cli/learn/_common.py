"""What the verbs of the school share: the workspace, printing, the check of an exercise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from bugzoo.errors import UserError

if TYPE_CHECKING:
    from bugzoo.learn.exercise import Exercise
    from bugzoo.learn.log import Record
    from bugzoo.learn.session import Session
    from bugzoo.model import Detector


def workspace(command: Callable[..., Any]) -> Callable[..., Any]:
    """--dir and --plain."""
    for option in (
        click.option("--plain", is_flag=True, help="No colour."),
        click.option(
            "--dir",
            "folder",
            default="",
            metavar="DIR",
            help="The workspace.  [default: $BUGZOO_EXERCISES, or exercises]",
        ),
    ):
        command = option(command)
    return command


def chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """[CODE] and --mode: which exercise is meant, the open one by default."""
    command = click.option(
        "--mode", default="", metavar="MODE", help="find, fix, detect or plant."
    )(command)
    return click.argument("code", required=False, default="")(command)


def session(folder: str) -> Session:
    from bugzoo.learn.screen import wrapped
    from bugzoo.learn.session import Session

    made = Session(folder)
    progress = made.progress
    for warning in progress.warnings:
        click.echo("\n".join(wrapped(f"bugzoo: {warning}", "", "  ")), err=True)
    made.log.told(progress.damage)
    return made


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line.rstrip())


def ready() -> None:
    """torch, on one thread: several would only get in each other's way here."""
    import torch

    torch.set_num_threads(1)


def task(held: Session, exercise: Exercise, record: Record, code: bool = True) -> list[str]:
    """The screen of an exercise that is open."""
    from bugzoo.learn import naive, pool, program, screen, views

    op = pool.of(exercise)
    progress = held.progress
    bar = screen.bar(len(progress.done_steps), 30)
    path = str(held.file(exercise))
    again = held.restored(exercise)
    if exercise.mode in ("detect", "plant"):
        body = views.detect_task if exercise.mode == "detect" else views.plant_task
        head = views.heading(exercise, op, None, bar)
        return [*again, *head, *body(op, path), "", screen.keys(exercise.mode)]
    exhibit = held.exhibit(exercise)
    head = views.heading(exercise, op, naive.level(exhibit, exercise.seed), bar)
    if exercise.mode == "find":
        return [*again, *head, *views.find_task(exhibit, exercise, record), "", screen.keys("find")]
    source = program.read(held.file(exercise)) if held.file(exercise).exists() else ""
    return [*again, *head, *views.fix_task(exhibit, path, source), "", screen.keys("fix")]


@dataclass
class Checked:
    """What a check says: lines for the screen, plain data, the exit code."""

    lines: list[str]
    data: dict[str, Any] = field(default_factory=dict)
    code: int = 0


def check(
    held: Session,
    exercise: Exercise,
    *,
    allow_autograd: bool = False,
    colour: bool = False,
    path: str = "",
) -> Checked:
    """Run the check of the exercise's mode, note it, close the exercise where it is solved."""
    if exercise.mode == "find":
        raise UserError(
            f"{exercise.code} is an exercise of 'find': there is nothing to run. 'bugzoo learn look' buys a "
            f"reading, 'bugzoo learn answer LINE KIND' answers; --mode fix is to repair it."
        )
    ready()
    from bugzoo.learn import printed

    with printed.listening() as heard:
        found = {"fix": _fix, "detect": _detect, "plant": _plant}[exercise.mode](
            held, exercise, allow_autograd, colour, path
        )
    if said := heard.lines():
        found.lines += ["", *said]
        found.data["printed"] = dict(heard.counts)
    found.data["stored"] = not held.log.excuse
    found.lines += unstored(held)
    return found


def unstored(held: Session) -> list[str]:
    """A sentence where something could not be written; what was found is shown all the same."""
    from bugzoo.learn.screen import wrapped

    said = held.excuse()
    return ["", *wrapped(f"This was not stored: {said}")] if said else []


def _fix(
    held: Session, exercise: Exercise, allow_autograd: bool, colour: bool, path: str
) -> Checked:
    from bugzoo.learn import fix, pool, program, views

    exhibit = held.exhibit(exercise)
    file = path or held.file(exercise)
    begun = time.perf_counter()
    found = fix.check(exhibit, exercise.seed, file, allow_autograd=allow_autograd)
    seconds = time.perf_counter() - begun
    lines = views.report(found, seconds, colour)
    held.note(
        "check", exercise, keep=True, op=pool.of(exercise), right=found.solved, cases_failed=len(found.failed),
        cases=len(found.outcomes), ops=found.ops[0] or None, regressions=len(found.regressions),
        seed=exercise.seed,
    )  # fmt: skip
    if found.solved:
        lines += views.solved_fix(exhibit, found, program.read(type(held.folder)(file)))
        lines += _done(held, exercise)
    data = found.to_dict() | {"code": exercise.code, "mode": "fix", "seconds": round(seconds, 3)}
    return Checked(lines, data, 0 if found.solved else 3 if found.crashed else 1)


def _detect(
    held: Session, exercise: Exercise, allow_autograd: bool, colour: bool, path: str
) -> Checked:
    from bugzoo.learn import detect, pool, views

    found = detect.score(pool.of(exercise), exercise.seed, path or held.file(exercise))
    lines = views.score(found, colour)
    held.note(
        "check", exercise, keep=True, op=pool.of(exercise), right=found.solved, caught=found.caught,
        twins=found.twins, false_alarms=found.false_alarms, forwards=found.forwards, seed=exercise.seed,
    )  # fmt: skip
    if found.solved:
        lines += _done(held, exercise)
    data = found.to_dict() | {"code": exercise.code, "mode": "detect"}
    return Checked(lines, data, 0 if found.solved else 3 if found.error else 1)


def _plant(
    held: Session, exercise: Exercise, allow_autograd: bool, colour: bool, path: str
) -> Checked:
    from bugzoo.learn import plant, pool, views

    op = pool.of(exercise)
    file = type(held.folder)(path or held.file(exercise))
    found = plant.check(op, exercise.seed, file, detectors(plant.CHECKS))
    lines = views.planted(found, colour)
    held.note(
        "check", exercise, keep=True, op=op, right=found.solved, caught=len(found.caught),
        twins=len(found.caught) + len(found.missed), seed=exercise.seed,
    )  # fmt: skip
    if found.solved:
        lines += [f" 'bugzoo adopt {exercise.code}' makes a specimen file of it."]
        lines += _done(held, exercise)
    data = found.to_dict() | {"code": exercise.code, "mode": "plant"}
    return Checked(lines, data, 0 if found.solved else 1)


def detectors(names: Iterable[str]) -> dict[str, Detector]:
    """Detectors of the zoo by name, each imported alone."""
    import importlib

    from bugzoo.model import MARK

    found = {}
    for name in names:
        module = importlib.import_module(f"detectors.{name}")
        found[name] = getattr(getattr(module, name), MARK)
    return found


def _done(held: Session, exercise: Exercise) -> list[str]:
    """Close a solved exercise: what it taught, where the same was seen."""
    from bugzoo.learn import explained, screen

    step = held.step_of(exercise)
    if held.progress.records[exercise.key].state == "given up":
        return screen.wrapped(
            f"You gave it up before, so it is not counted; 'bugzoo learn start {exercise.code} --mode "
            f"{exercise.mode}' takes it up again."
        )
    held.close(exercise, "solve", **({"step": step.number} if step else {}))
    lines = explained.taught(step)
    if exercise.mode in ("find", "fix"):
        lines += explained.seen(held.exhibit(exercise))
    return lines


def placing(held: Session, exercise: Exercise) -> list[str]:
    """Behind a question of `learn place` that is closed: how to come to the next, or to the result."""
    from bugzoo.learn import path as paths

    record = held.progress.records.get(exercise.key)
    number, of = (record.place if record else 0), len(paths.PLACES)
    if not number or (
        held.progress.placed is not None and record and record.started < held.progress.placed_at
    ):
        return []
    coming = f"question {number + 1} of {of}" if number < of else "the result"
    return ["", f" p {coming} ('bugzoo learn place')   n leave it for the path"]


def answer(held: Session, exercise: Exercise, record: Record, line: str, kind: str) -> Checked:
    """Take an answer of find."""
    from bugzoo.learn import find, instruments, views
    from bugzoo.learn.fix import bench

    if exercise.mode != "find":
        raise UserError(
            f"{exercise.code} is an exercise of '{exercise.mode}': edit {held.file(exercise)} and run "
            f"'bugzoo learn check'."
        )
    if record.state in ("solved", "given up"):
        raise UserError(
            f"{exercise.code} is closed ({record.state}); an answer no longer counts. 'bugzoo learn next' "
            f"goes on, 'bugzoo learn explain {exercise.code}' shows its label."
        )
    ready()
    exhibit = held.exhibit(exercise)
    number = find.line_from(line, exhibit)
    word = find.kind_from(kind, exhibit) if kind else ""
    given = find.answer(exhibit, exercise.seed, number, word, record.looks)
    held.note(
        "answer", exercise, keep=True, op=exhibit.op, right=given.right, line_answered=number,
        kind_answered=word or None, seed=exercise.seed,
    )  # fmt: skip
    prices = {i.name: i.price for i in instruments.listed(bench(exhibit, exercise.seed)).values()}
    points = find.points(record.looks, record.wrong, record.hints, prices)
    looks = len(dict.fromkeys(record.looks))
    lines = views.answer(exhibit, given, points, looks, exercise.seed)
    if given.right:
        lines += _done(held, exercise)
        lines += placing(held, exercise)
    return Checked(lines + unstored(held), {"right": given.right}, 0 if given.right else 1)


def look(held: Session, exercise: Exercise, name: str) -> list[str]:
    """Buy a reading."""
    from bugzoo.learn import find, views

    if exercise.mode != "find":
        raise UserError(
            f"{exercise.code} is an exercise of '{exercise.mode}', where the program may be run: "
            f"'bugzoo learn check'."
        )
    ready()
    exhibit = held.exhibit(exercise)
    instrument = find.instrument_from(name, exhibit, exercise.seed)
    found = find.look(exhibit, exercise.seed, name)
    held.note("look", exercise, keep=True, op=exhibit.op, instrument=name)
    return views.reading(name, found, instrument.price) + unstored(held)


def hint(held: Session, exercise: Exercise, record: Record) -> list[str]:
    """The next rung of the ladder; the last one again when all are used. UserError once it is closed."""
    from bugzoo.learn import hints, screen

    if record.state in ("solved", "given up"):
        raise UserError(
            f"{exercise.code} is closed ({record.state}): 'bugzoo learn explain {exercise.code}' shows its "
            f"label, 'bugzoo learn next' goes on."
        )

    number = min(record.hints + 1, 4)
    if exercise.mode in ("detect", "plant"):
        said = [(hints.DETECT if exercise.mode == "detect" else hints.PLANT)[number - 1]]
    else:
        ready()
        said = hints.rung(
            held.exhibit(exercise), exercise.seed, exercise.mode, number, record.looks
        )
    if number > record.hints:
        held.note("hint", exercise, keep=True, rung=number)
    price = hints.PRICES[number - 1]
    lines = [f" hint {number} of 4{f'-{price}' if number > record.hints else '':>60}"]
    for text in said:
        lines += screen.folded(f" {text}") if text.startswith(" ") else screen.wrapped(text)
    return lines + unstored(held)


def explain(held: Session, exercise: Exercise, record: Record) -> list[str]:
    """The label of an exercise that is closed. UserError while it is open."""
    if record.state == "open" or record.state == "skipped":
        raise UserError(
            f"{exercise.code} is still open: its label opens when it is solved, or with 'bugzoo learn "
            f"giveup'."
        )
    from bugzoo.learn import explained, plant

    ready()
    if exercise.mode == "detect":
        lines = explained.detected(exercise, held.file(exercise))
    elif exercise.mode == "plant":
        lines = explained.hidden(exercise, held.file(exercise), detectors(plant.CHECKS))
    else:
        return explained.label(held.exhibit(exercise), exercise.seed)
    return lines + explained.taught(held.step_of(exercise))


def giveup(held: Session, exercise: Exercise) -> list[str]:
    """Close it unsolved, with its label; it comes back tomorrow as another of its family."""
    ready()
    held.close(exercise, "giveup")
    record = held.progress.records[exercise.key]
    return explain(held, exercise, record) + placing(held, exercise)


def skip(held: Session, exercise: Exercise) -> list[str]:
    """Put an open exercise aside."""
    if held.progress.records[exercise.key].state == "open":
        held.note("skip", exercise)
    said = f" {exercise.code} is put aside; 'bugzoo learn start {exercise.code}' takes it up again."
    return [said, *placing(held, exercise)]


def begin(held: Session, allow_review: bool = True) -> list[str]:
    """Start what comes next and show it."""
    ready()
    coming = held.next() if allow_review else held.on_path(held.progress)
    if coming is None:
        return [" The path is at its end: all 30 steps. 'bugzoo learn review' keeps it fresh,",
                " 'bugzoo learn start --op softmax --level 4' draws another."]  # fmt: skip
    record = held.progress.open_one()
    if record is None or record.key != coming.exercise.key:
        held.start(
            coming.exercise,
            step=coming.step.number if coming.step else None,
            review="review" in coming.why,
        )
    again = held.progress.records[coming.exercise.key]
    where = f" {coming.why}"
    if coming.step:
        from bugzoo.learn import path as paths

        where += f": {paths.PARTS[coming.step.part]}, about {coming.step.minutes} minutes"
    return [where, "", *task(held, coming.exercise, again)]
