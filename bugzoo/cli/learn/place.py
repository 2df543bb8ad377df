"""bugzoo learn place: six questions that show where on the path to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bugzoo.cli.learn import _common

if TYPE_CHECKING:
    from bugzoo.learn.log import Record


@click.command("place", short_help="Six questions: which parts of the path to leave out.")
@_common.workspace
def command(folder: str, plain: bool) -> None:
    """One question a part of the path, each a fresh mistake to be found.

    A part is left out where its question is solved with two wrong answers at most and no hint
    beyond the first. Run it again for the next question.
    """
    _common.show(step(_common.session(folder)))


def step(held: _common.Session) -> list[str]:
    """The next question, or the result."""
    from bugzoo.learn import path as paths

    _common.ready()
    progress = held.progress
    questions = held.places()
    passed, kept = [], []
    for number, exercise in enumerate(questions, 1):
        record = progress.records.get(exercise.key)
        if record is None or record.state == "open":
            if record is None:
                held.start(exercise, place=number)
                record = held.progress.records[exercise.key]
            again = [f" question {number} of {len(questions)}, for the part: {paths.PARTS[number - 1]}",
                     " s skip or g give up what you do not know: its part then stays", ""]  # fmt: skip
            return [*again, *_common.task(held, exercise, record)]
        if record.state == "solved" and record.hints <= 1 and record.wrong <= 2:
            passed.append(number)
        else:
            kept.append((number, _why(record)))
    steps = [s.number for s in paths.STEPS if s.part + 1 in passed]
    held.log.add("place", level=len(passed), steps=steps)
    said = [f" {len(passed)} of {len(questions)} questions solved; left out:"]
    said += [f"   {n}  {paths.PARTS[n - 1]}" for n in passed] or ["   nothing"]
    if kept:
        said += [" yours to learn:", *(f"   {n}  {paths.PARTS[n - 1]} ({why})" for n, why in kept)]
    return [*said, "", " bugzoo learn next goes on"]


def _why(record: Record) -> str:
    """What became of a question that does not leave its part out."""
    if record.state != "solved":
        return {"skipped": "put aside"}.get(record.state, record.state)
    return f"{record.hints} hints" if record.hints > 1 else f"{record.wrong} wrong answers"
