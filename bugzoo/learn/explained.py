"""What is told once an exercise is closed: the label, each program of detect, what plant hid, what it taught.

Lists of lines. Which inputs separate a wrong program from the right one is measured, case by case.
"""

import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bugzoo.errors import UserError
from bugzoo.learn import detect, fix, naive, plant, program
from bugzoo.learn import path as paths
from bugzoo.learn.exercise import Exercise
from bugzoo.learn.find import _kind
from bugzoo.learn.jobs import Bench
from bugzoo.learn.judge import Outcome, examine
from bugzoo.learn.pool import Exhibit, named, of, right
from bugzoo.learn.screen import folded, wrapped
from bugzoo.learn.views import _code, difference
from bugzoo.model import Detector

FULL = 5  # programs of detect that are told in full; the others get a line


def label(exhibit: Exhibit, seed: int) -> list[str]:
    """The museum label: what is wrong, the difference, who misses it, where it was seen."""
    said = exhibit.broken.label
    assert said is not None
    lines = [*wrapped(f"{exhibit.code} is {exhibit.broken.id}: {said.wrong}"), *difference(exhibit)]
    story = _story(exhibit)
    if story:
        lines += wrapped(story)
    lines += wrapped(f"Shows in: {', '.join(c.lstrip('+') for c in said.shown_by)}.")
    if said.hidden_by:
        lines += wrapped(f"Hidden in: {', '.join(said.hidden_by)}.")
    missed = naive.misses(exhibit, seed)
    asked = naive.asked(exhibit)
    names = "; ".join(naive.NAMES[m] for m in missed)
    verb = "misses it" if len(missed) == 1 else "miss it"
    lines += wrapped(
        f"Of {len(asked)} first checks {len(missed)} {verb}: {names}."
        if missed
        else f"None of {len(asked)} first checks misses it."
    )
    return lines + seen(exhibit)


def seen(exhibit: Exhibit) -> list[str]:
    """Addresses of the same mistake in the wild."""
    from bugzoo.mutation.operator import collected

    assert exhibit.broken.label is not None
    found = list(exhibit.broken.label.seen)
    if exhibit.mutant:
        operator = collected().get(exhibit.broken.operator.partition(" + ")[0])
        found = [operator.imitates] if operator and operator.imitates.startswith("http") else []
    if not found:
        return wrapped("No real occurrence is recorded: it is taught as a warning.")
    return [" The same mistake in the wild:", *(f"   {a}" for a in found)]


def _story(exhibit: Exhibit) -> str:
    own = "" if exhibit.mutant else exhibit.broken.cls.__dict__.get("__doc__") or ""
    return " ".join(own.split())


def taught(step: paths.Step | None) -> list[str]:
    """What a step of the path taught, and for detect and plant where real checks let such a bug pass."""
    if step is None:
        return []
    lines = ["", *wrapped(f"Learned: {step.taught}")]
    if step.seen:
        lines += [" What checks let pass in the wild:", *(f"   {a}" for a in step.seen)]
    return lines


def addresses(step: paths.Step) -> tuple[str, ...]:
    """Where the bug of a step was seen: the specimen's own addresses, or the step's."""
    if step.mode in ("detect", "plant"):
        return step.seen
    said = named(step.about).broken.label
    return said.seen if said is not None else ()


def detected(exercise: Exercise, file: Path) -> list[str]:
    """Each broken program of a detect exercise: what your check made of it, the line, what separates it."""
    op = of(exercise)
    listed = detect.subjects(op, exercise.seed)
    marks: list[bool] = []
    with suppress(UserError):  # gone, or it does not parse: the programs can be told all the same
        marks = detect.score(op, exercise.seed, file).marks
    twins = [
        (s.wrong, bool(marks) and marks[n]) for n, s in enumerate(listed) if s.wrong is not None
    ]
    twins.sort(key=lambda pair: not pair[1])  # those that your check lets pass come first
    missed = [e for e, passed in twins if passed]
    told = missed if marks else [e for e, _ in twins]
    lines = wrapped(_summary(marks, len(missed), len(twins)))
    for e in told[:FULL]:
        lines += ["", *_one(e, exercise.seed)]
    rest = [e for e, _ in twins if e not in told[:FULL]]
    if rest:
        lines += ["", " The others:"]
        for e in rest:
            line = e.shown.splitlines()[e.lines[0] - 1].strip()
            passed = "" if not marks else "   let pass" if e in missed else "   caught"
            lines += [f"   {e.code}  {e.family}{passed}", *folded(f"     {e.lines[0]:>4d}  {line}")]
    return lines


def _summary(marks: list[bool], missed: int, twins: int) -> str:
    if not marks:
        return f"{twins} broken programs were drawn for this exercise; your file could not be tried on them."
    if not missed:
        return f"Your check catches all {twins} broken programs."
    return f"Your check lets {missed} of {twins} broken programs pass:"


def _one(e: Exhibit, seed: int) -> list[str]:
    said = e.broken.label
    assert said is not None
    lines = [f" {e.code}  {e.family}"]
    if not e.mutant:
        lines += wrapped(f"{said.wrong[:1].upper()}{said.wrong[1:]}.", "   ")
    lines += difference(e)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = fix.bench(e, seed)
        lines += separates(examine(held, fix.measured(held, _kind(e))))
    return lines


def separates(outcomes: list[Outcome]) -> list[str]:
    """In which inputs a program is wrong, in which it is right, and what is read in the first wrong one."""
    wrong = [o for o in outcomes if not o.ok]
    fine = [o.name for o in outcomes if o.ok]
    if not wrong:
        return wrapped("Right in every case: it shows over many calls alone.", "   ")
    worst = max(wrong, key=lambda o: o.error if math.isfinite(o.error) else -1.0)
    reading = f"error {worst.error:.1e}" if math.isfinite(worst.error) else worst.words[0]
    lines = wrapped(
        f"wrong in {', '.join(o.name for o in wrong)} ({worst.name}: {reading})", "   ", "     "
    )
    return lines + (wrapped(f"right in {', '.join(fine)}", "   ", "     ") if fine else [])


def hidden(exercise: Exercise, file: Path, detectors: Mapping[str, Detector]) -> list[str]:
    """What was planted: its lines, the inputs that separate it, who misses it and who does not."""
    op = of(exercise)
    base = right(op)
    try:
        found = plant.check(op, exercise.seed, file, detectors)
        source = program.read(file)
    except UserError as error:
        return wrapped(f"Your file cannot be tried any more: {error}")
    if found.remark:
        return wrapped(f"{found.remark[:1].upper()}{found.remark[1:]}.")
    lines = [" Your bug:"]
    for mine, theirs in plant.changes(op, exercise.code, source):
        word = "reads      " if theirs else "added      "
        lines += [p for s in mine for p in _code(word, s)]
        lines += [p for s in theirs for p in _code("was        " if mine else "taken out  ", s)]
    held = Bench(base, None, f"plant-{op}", exercise.seed)
    kind = program.compiled(source, str(file), base.cls.__name__)
    lines += separates(examine(held, fix.measured(held, kind)))
    blind = {n: str(detectors[n].blind_to) for n in found.missed}
    if blind:
        lines += ["", f" {len(blind)} checks miss it; what their authors say they do not see:"]
        lines += [p for n, s in blind.items() for p in wrapped(f"{n}: {s}", "   ", "     ")]
    if found.caught:
        lines += wrapped(f"Caught by {', '.join(found.caught)}.")
    return lines
