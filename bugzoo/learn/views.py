"""What is said about one exercise: the task, a report, a score, an answer, the label. Lists of lines."""

import math

from bugzoo.learn import find, fix, instruments, text
from bugzoo.learn.detect import Score
from bugzoo.learn.exercise import Exercise
from bugzoo.learn.find import Answer
from bugzoo.learn.judge import Report
from bugzoo.learn.log import Record
from bugzoo.learn.plant import Planted
from bugzoo.learn.pool import Exhibit, right
from bugzoo.learn.screen import RULE, WIDTH, cut, folded, paint, title, wrapped
from bugzoo.model import FAMILIES


def heading(exercise: Exercise, op: str, level: int | None, extra: str = "") -> list[str]:
    said = f"{exercise.mode:<6} {exercise.code}   {op}"
    return [title(said + (f"   level {level}" if level else ""), extra), RULE]


def formula(op: str) -> list[str]:
    shown = text.formula(fix._doc(right(op).cls)).splitlines()
    return [*wrapped(shown[0]), *(p for s in shown[1:] for p in _equation(s))]


def _equation(line: str) -> list[str]:
    """A line of the formula; shapes that do not fit beside it go below."""
    if len(line) + 1 <= WIDTH:
        return [f" {line}"]
    left, _, right = line.rpartition("     ")
    return wrapped(left.strip() or right.strip(), "   ", "      ") + (
        wrapped(right.strip(), "        ") if left.strip() else []
    )


def find_task(exhibit: Exhibit, exercise: Exercise, record: Record) -> list[str]:
    """The program, the instruments with their prices, the kinds."""
    bench = fix.bench(exhibit, exercise.seed)
    lines = [*formula(exhibit.op), ""]
    lines += [part for line in text.code_lines(exhibit.shown) for part in folded(f" {line}")]
    lines += ["", f" {'instruments':<58} price"]
    for i in instruments.listed(bench).values():
        mark = "*" if i.name in record.looks else " "
        price = "free" if not i.price else str(i.price)
        lines.append(f"  {mark}{i.name:<9} {i.what:<46} {price:>5}")
    kinds = [f"{n}\0{k}" for n, k in enumerate(find.kinds(exhibit), 1)]
    listed = wrapped("kinds: " + ", ".join(kinds), " ", "   ")
    return [*lines, "", *(line.replace("\0", " ") for line in listed)]


def kinds(exhibit: Exhibit) -> list[str]:
    """The kinds of mistake with a sentence each."""
    return [
        line
        for n, k in enumerate(find.kinds(exhibit), 1)
        for line in wrapped(f"{n:>2} {k}: {FAMILIES[k]}", "  ", "       ")
    ]


def fix_task(exhibit: Exhibit, path: str, source: str = "") -> list[str]:
    """The program as it stands in the learner's file, whose lines a report counts; else as handed out."""
    lines = [*formula(exhibit.op), ""]
    shown = text.code_lines(source or fix.source(exhibit, 0))
    lines += [part for line in shown for part in folded(f" {line}")]
    where = " and ".join(f"`{m}`" if m else "the class body" for m in exhibit.methods)
    return [*lines, "", *wrapped(f"Repair {where} in {path}"), *wrapped("then: bugzoo learn check")]


def detect_task(op: str, path: str) -> list[str]:
    return [
        *formula(op),
        "",
        *wrapped(f"Write check(op, inputs) in {path}: True where the backward looks right, False where "
                 "it is wrong. It is tried on the right program, on harmless rewrites of it, and on "
                 "broken twins. Then: bugzoo learn check"),
    ]  # fmt: skip


def plant_task(op: str, path: str) -> list[str]:
    return [
        *formula(op),
        "",
        *wrapped(f"Break the backward in {path}. It must be wrong in a case at least, and checks shall "
                 "miss it: five of ten solve the exercise. Then: bugzoo learn check"),
    ]  # fmt: skip


def report(found: Report, seconds: float, colour: bool = False) -> list[str]:
    """The report of a check of fix: the table of cases, then one wrong case in full."""
    failed, total = len(found.failed), len(found.outcomes)
    lines: list[str] = []
    if found.solved:
        hidden = total - found.fresh
        more = f", and {found.fresh} more drawn just now" if found.fresh else ""
        said = f"{hidden} of {hidden} hidden cases pass{more}."
        return [paint(f" {said}", "green", colour) + f"  ({seconds:.1f} s)"]
    said = f"{failed} of {total} hidden cases fail{'s' * (failed == 1)}."
    if not failed:
        said = "All cases pass, but it does not count yet."
    lines += [paint(f" {said}", "red", colour) + f"  ({seconds:.1f} s)"]
    if found.regressions:
        broken = ", ".join(found.regressions)
        lines += wrapped(f"Right before and broken now: {broken}")
    for remark in found.remarks:
        lines += wrapped(f"{remark[:1].upper()}{remark[1:]}{'' if remark.endswith('?') else '.'}")
    if found.timed_out and found.outcomes:  # nothing was measured: no table
        said = found.outcomes[0].words[0]
        lines[0] = (
            paint(" Stopped before any case was done.", "red", colour) + f"  ({seconds:.1f} s)"
        )
        return lines + wrapped(f"{said[:1].upper()}{said[1:]}")
    wide = min(20, max(6, *(len(o.size) for o in found.outcomes)))
    longest = 24 if any(o.note for o in found.outcomes) else 6  # "right, but all is 0 here"
    room = WIDTH - 27 - wide - longest
    name = max(14, min(room, max(17, *(len(o.name) for o in found.outcomes))))
    lines += ["", f"   {'case':<{name}} {'inputs':<{wide}} {'error':>9}   {'limit':>7}"]
    for o in found.outcomes[: max(10, total - found.fresh)]:
        error = f"{o.error:9.1e}" if math.isfinite(o.error) else f"{'-':>9}"
        verdict = "right" if o.ok else "raises" if o.raised else "wrong"
        if o.note:
            verdict += ", but all is 0 here"
        row = f"   {o.name[:name]:<{name}} {o.size[:wide]:<{wide}} {error}   {o.limit:7.0e}   "
        lines.append(cut(row + verdict))
    worst = found.worst()
    if worst is not None:
        lines += ["", *wrapped(f"{worst.name}, {worst.size}: {worst.words[0]}", " ", "   ")]
        for said in worst.words[1:]:
            indent = "  " + " " * (len(said) - len(said.lstrip()))
            lines += (
                _element(indent + said.strip())
                if "yours" in said and "expected" in said
                else wrapped(said.strip(), indent, indent + "  ")
            )
    return lines


def _element(line: str) -> list[str]:
    """First or worst element: the ratio goes below where it does not fit."""
    head, _, ratio = line.partition("   ratio ")
    return [line] if len(line) <= WIDTH else [cut(head), f"{'ratio ' + ratio:>{len(head)}}"]


def solved_fix(exhibit: Exhibit, found: Report, source: str) -> list[str]:
    yours, least = fix.lines_changed(exhibit, source)
    lines = wrapped(
        f"You changed {yours} line{'s' * (yours != 1)}; the exhibit differs from the right program in "
        f"{least}."
    )
    if found.ops[1]:
        lines += wrapped(
            f"{found.ops[0]} tensor operations in your backward, {found.ops[1]} in the right one."
        )
    return lines


def score(found: Score, colour: bool = False) -> list[str]:
    """The screen of detect."""
    if found.error:
        return [
            paint(" Your check cannot be scored.", "red", colour),
            *wrapped(f"On a right program: {found.error}"),
            *wrapped("It must return True (looks right) or False (wrong), or fail an assertion."),
        ]
    marks = "#" * found.caught + "." * (found.twins - found.caught)
    lines = [
        paint(
            f" broken twins caught   {found.caught:>2} of {found.twins:<3}  {marks}", "bold", colour
        ),
        f" false alarms          {found.false_alarms:>2} of {found.healthy:<3}  right programs, in other words",
        f" cost                  {found.forwards:g} forwards, {found.backwards:g} backwards for each program",
        f" score                 {found.points:.2f}   caught x (1 - false alarms)",
    ]
    if found.solved:
        lines.append(paint(" Enough: four of five twins, and no false alarm.", "green", colour))
    if found.story:
        lines += [""]
        for said in found.story:
            lines += [cut(f" {said}")] if said.startswith("  ") else wrapped(said)
    if found.false_alarms:
        lines += ["", *wrapped("A false alarm is a right program that your check calls wrong: is a limit too "
                               "tight, or a difference taken over a kink?")]  # fmt: skip
    return lines


def planted(found: Planted, colour: bool = False) -> list[str]:
    """The screen of plant."""
    if found.remark:
        return [
            *wrapped(found.remark[0].upper() + found.remark[1:] + "."),
            *(f"   {w}" for w in found.words),
        ]
    lines = [
        *wrapped(f"It is wrong in {', '.join(found.shown)}."),
        f" missed by   {len(found.missed):>2} of {len(found.missed) + len(found.caught)}",
        *wrapped(", ".join(found.missed) or "none", "   "),
        f" caught by   {len(found.caught):>2}",
        *wrapped(", ".join(found.caught) or "none", "   "),
    ]
    return lines


def reading(name: str, found: instruments.Reading, price: int) -> list[str]:
    head = f" {name}{f'-{price}' if price else 'free':>{70 - len(name)}}"
    return [head, *(cut(f"   {line}") for line in found.lines)]


def answer(exhibit: Exhibit, given: Answer, points: int, looks: int, seed: int) -> list[str]:
    """What is said after an answer."""
    if not given.right:
        return [
            line
            for said in given.words
            for line in wrapped(said.strip(), " " + 2 * _indent(said), "   " + 2 * _indent(said))
        ]
    many = "s" * (looks != 1)
    lines = wrapped(
        f"Right: line {given.line}. The label says {exhibit.family}. {points} points, {looks} "
        f"instrument{many}."
    )
    return lines + difference(exhibit)


def _indent(said: str) -> str:
    return " " * (len(said) - len(said.lstrip()))


def difference(exhibit: Exhibit) -> list[str]:
    """The wrong lines beside the right ones."""
    lines: list[str] = []
    wrong, good = exhibit.shown.splitlines(), exhibit.correct.splitlines()
    if place := text.moved(exhibit.correct, exhibit.shown):
        line, before = place
        return [
            *_code("misplaced       ", wrong[line - 1].strip()),
            *_code("belongs behind  ", before),
        ]
    for tag, a, b, c, d in text.blocks(exhibit.correct, exhibit.shown):
        if tag != "equal":
            reads = "reads      " if b > a else "too much   "
            wanted = "should be  " if d > c else "missing    "
            kept = [s for s in wrong[c:d] if s.strip() and not s.startswith(("import ", "from "))]
            lines += [p for s in kept for p in _code(reads, s)]
            lines += [p for s in good[a:b] if s.strip() for p in _code(wanted, s)]
    return lines[:14]


def _code(word: str, line: str) -> list[str]:
    """A line of code behind a word, folded where it is long."""
    return folded(f"   {word}{line.strip()}")
