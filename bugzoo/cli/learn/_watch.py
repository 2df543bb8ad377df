"""The school at a terminal: the exercise that is open, checked on save, a letter and Enter for the rest.

Modification times are polled; input is read between checks, so nothing typed during one is taken
for an answer to it.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

import click

from bugzoo.cli.learn import _common
from bugzoo.errors import UserError

if TYPE_CHECKING:
    from bugzoo.learn.exercise import Exercise
    from bugzoo.learn.session import Session

POLL = 0.3  # seconds
GONE = -1.0


def run(held: Session, plain: bool) -> None:
    """Until q, or the end of the input."""
    from bugzoo.learn import screen

    _common.show(screen.welcome(held.progress, str(held.folder)))
    exercise = _open(held)
    seen = _saved(held, exercise)  # before anything that takes time: a save meanwhile is not missed
    if exercise is not None:
        click.echo()
        try:
            _show(held, exercise)
        except UserError as error:  # of another version, say: s puts it aside
            _common.show([*screen.wrapped(str(error)), "", " s skip   l list   q quit"])
    elif held.progress.records:
        click.echo(f"\n{screen.keys('done')}")
    while True:
        click.echo("> ", nl=False)
        typed = _wait(held, exercise, seen)
        if typed is None:
            click.echo()
            return
        try:
            if typed == "":
                seen = _saved(held, exercise)
                if exercise is not None and seen != GONE and exercise.mode != "find":
                    click.echo(f"saved {held.file(exercise)}")
                    _check(held, exercise, plain)
                    exercise = _open(held)  # None once it is solved
                continue
            before, saved = exercise, _saved(held, exercise)
            exercise, more = _do(held, exercise, typed.split(), plain)
            if not more:
                return
            same = exercise == before and typed.split()[0] not in ("x", "reset")
            seen = saved if same else _saved(held, exercise)
        except UserError as error:
            _common.show(screen.wrapped(str(error)))


def _wait(held: Session, exercise: Exercise | None, seen: float) -> str | None:
    """A typed line; '' when the file was saved; None at the end of the input."""
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], POLL)
        if ready:
            line = sys.stdin.readline()
            if not line:
                return None
            if line.strip():
                return line.strip()
            click.echo("> ", nl=False)
        elif (
            exercise is not None
            and exercise.mode != "find"
            and _saved(held, exercise) not in (seen, GONE)
        ):
            click.echo()
            return ""


def _do(
    held: Session, exercise: Exercise | None, words: list[str], plain: bool
) -> tuple[Exercise | None, bool]:
    """One command; the exercise that is open then, and whether to go on."""
    from bugzoo.learn import screen

    verb, rest = words[0].lower(), words[1:]
    if verb in ("q", "quit", "exit"):
        return exercise, False
    if verb in ("?", "help"):
        mode = exercise.mode if exercise else "done"
        _common.show([screen.keys(mode), " s skip   g give up   k kinds   n next   ENTER: nothing"])
    elif verb in ("l", "list"):
        _common.show(screen.listing(held.progress.records.values(), held.progress))
    elif verb in ("p", "place"):
        from bugzoo.cli.learn import place

        _common.show(place.step(held))
        exercise = _open(held)
    elif verb in ("n", "next"):
        click.echo()
        _common.show(_common.begin(held))
        exercise = _open(held)
    elif exercise is None and verb not in ("e", "explain"):
        click.echo(" no exercise is open: n next   l list   q quit")
    elif verb in ("e", "explain"):
        _common.show(_common.explain(held, *held.current()))
    elif exercise is not None:
        exercise = _on(held, exercise, verb, rest, plain)
    return exercise, True


def _on(
    held: Session, exercise: Exercise, verb: str, rest: list[str], plain: bool
) -> Exercise | None:
    """A command about the exercise that is open."""
    from bugzoo.learn import screen, views

    record = held.progress.records[exercise.key]
    if verb in ("h", "hint"):
        _common.show(_common.hint(held, exercise, record))
    elif verb == "look" and rest:
        _common.show(_common.look(held, exercise, rest[0]))
    elif verb in ("look", "show"):
        _show(held, exercise)
    elif verb in ("a", "answer") and rest:
        found = _common.answer(held, exercise, record, rest[0], rest[1] if len(rest) > 1 else "")
        _common.show([*found.lines, "", screen.keys("done" if not found.code else "find")])
    elif verb in ("k", "kinds") and exercise.mode == "find":
        _common.show(views.kinds(held.exhibit(exercise)))
    elif verb in ("c", "check"):
        _check(held, exercise, plain)
    elif verb in ("x", "reset"):
        path, kept = held.reset(exercise)
        click.echo(f" wrote {path}" + (f"; yours is {kept}" if kept else ""))
    elif verb in ("s", "skip"):
        _common.show([*_common.skip(held, exercise), screen.keys("aside")])
    elif verb in ("g", "giveup"):
        _common.show([*_common.giveup(held, exercise), "", screen.keys("done")])
    elif exercise.mode == "find":
        from bugzoo.learn import find

        find.instrument_from(verb, held.exhibit(exercise), exercise.seed)
        _common.show(_common.look(held, exercise, verb))  # an instrument's name alone will do
    else:
        _common.show([f" '{verb}'?", screen.keys(exercise.mode)])
    return _open(held)


def _check(held: Session, exercise: Exercise, plain: bool) -> None:
    from bugzoo.learn import screen

    found = _common.check(held, exercise, colour=screen.coloured(plain))
    _common.show([*found.lines, "", screen.keys("done" if not found.code else exercise.mode)])


def _open(held: Session) -> Exercise | None:
    from bugzoo.learn.exercise import Exercise

    record = held.progress.open_one()
    return Exercise(record.mode, record.code, record.seed) if record else None


def _show(held: Session, exercise: Exercise) -> None:
    _common.ready()
    _common.show(_common.task(held, exercise, held.progress.records[exercise.key]))


def _saved(held: Session, exercise: Exercise | None) -> float:
    try:
        return held.file(exercise).stat().st_mtime if exercise else GONE
    except OSError:
        return GONE
