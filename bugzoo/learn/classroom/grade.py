"""Grades a class: every submission is read first, then run, each in a sandbox; then all is written.

So nothing that a submission does can reach another's files or grade.
"""

import csv
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bugzoo.errors import UserError
from bugzoo.learn import detect, find, fix, pool, program, views
from bugzoo.learn.classroom import plan as plans
from bugzoo.learn.classroom import sandbox
from bugzoo.learn.classroom.pack import ANSWER
from bugzoo.learn.exercise import Exercise
from bugzoo.learn.jobs import seeded
from bugzoo.learn.judge import Report, examine
from bugzoo.learn.log import COLUMNS, Log, now, rows
from bugzoo.learn.naive import level
from bugzoo.model import Context

WEIGHTS: dict[str, Any] = {
    "start": 100, "wrong": 15, "rungs": [10, 20, 30, 30], "prices": True, "floor": 10, "partial": 50,
}  # fmt: skip
GRADED = ("slot", "week", "points", "right", "handed_in")
SCORES = ("learner", "team", "points", "of", "solved", "slots")
MOST_TRIES = 10_000  # lines of a log that count


@dataclass
class Handed:
    """What one learner handed in for one slot, as read before anything was run."""

    learner: plans.Learner
    slot: plans.Slot
    exercise: Exercise
    text: str = ""
    problem: str = ""  # why there is nothing to grade
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Graded:
    """The grade of one slot: `share` of what was asked, before instruments and hints are paid."""

    handed: Handed
    share: float = 0.0
    right: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    feedback: list[str] = field(default_factory=list)


def collect(
    folder: Path, key: bytes, plan: plans.Plan, learners: tuple[plans.Learner, ...]
) -> list[Handed]:
    """Everything that was handed in. Links are not followed; long files are not read."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one with a folder for each learner.")
    found = []
    for learner, slot, exercise in plans.all_of(key, plan, learners):
        handed = Handed(learner, slot, exercise)
        home = folder / learner.name
        file = ANSWER if exercise.mode == "find" else exercise.file
        if not home.is_dir():
            handed.problem = f"no folder {learner.name} was handed in"
        else:
            handed.events = _events(home, learner, exercise)
            handed.text, handed.problem = _text(home, exercise.code, file)
        found.append(handed)
    return found


def _text(home: Path, code: str, file: str) -> tuple[str, str]:
    path = home / code / file
    if home.is_symlink() or path.parent.is_symlink() or path.is_symlink():
        return "", f"{code}/{file} is a link; links are not followed"
    if not path.is_file():
        others = sorted(p.name for p in home.iterdir() if p.is_dir() and not p.is_symlink())[:5]
        there = f"; there is {', '.join(others)}" if others else ""
        return "", f"{code}/{file} is missing{there}"
    try:
        return program.read(path), ""
    except UserError as error:
        return "", str(error)


def _events(home: Path, learner: plans.Learner, exercise: Exercise) -> list[dict[str, Any]]:
    """The learner's own log of this exercise, as far as it can be read."""
    path = home / ".log.jsonl"
    try:
        if path.is_symlink() or path.stat().st_size > 4 << 20:
            return []
        listed = Log(home).events()
    except (OSError, UserError):
        return []
    mine = [e for e in listed if e.get("code") == exercise.code and e.get("mode") == exercise.mode]
    return [
        {**e, "learner": learner.name, "team": learner.team}
        for e in mine[:MOST_TRIES]
        if e["event"] not in ("solve", "giveup")
    ]


def grade(
    handed: Iterable[Handed],
    key: bytes,
    *,
    jobs: int = 1,
    seconds: int = sandbox.SECONDS,
    said: Callable[[Graded], None] = lambda _: None,
) -> list[Graded]:
    """A grade for each, in the order given."""
    listed = list(handed)
    prepared = [_prepared(h, key) for h in listed]  # in this thread: the truth is made here
    found: list[Graded] = []
    with ThreadPoolExecutor(max(1, jobs)) as threads:
        running = [
            threads.submit(sandbox.run, p[0], seconds) if p is not None else None for p in prepared
        ]
        for h, p, run in zip(listed, prepared, running):
            made = _find(h) if run is None else _judged(h, p, run.result())  # type: ignore[arg-type]
            found.append(made)
            said(made)
    return found


Prepared = tuple[dict[str, Any], Callable[[Handed, dict[str, Any]], Graded]]


def _prepared(h: Handed, key: bytes) -> Prepared | None:
    """The sandbox's job and what will judge its result; None where nothing is to be run."""
    if h.problem or h.exercise.mode == "find":
        return None
    op = pool.of(h.exercise)
    fresh = plans.seed(key, h.learner.name, h.slot, "grade")
    file = f"{h.exercise.code}/{h.exercise.file}"
    if h.exercise.mode == "detect":
        listed = detect.subjects(op, fresh)
        sent = [
            (s.text, detect.draws(s, seeded(op, str(n), fresh)), seeded(op, str(n), fresh))
            for n, s in enumerate(listed)
        ]
        job: dict[str, Any] = {"mode": "detect", "text": h.text, "file": file, "subjects": sent}

        def score(one: Handed, found: dict[str, Any]) -> Graded:
            return _detected(one, listed, found)

        return job, score
    exhibit = pool.resolve(h.exercise.code)
    bench = fix.bench(exhibit, fresh)
    cases: dict[str, Any] = {}
    for case in bench:
        made, _ = bench.truth(case)
        loop = isinstance(case, Context)
        cases[case.name] = (dict(case.options), case.steps, made) if loop else _plain(made)
    ran: dict[str, Any] = {"mode": "loop" if bench.loop else "fix", "text": h.text, "file": file}
    ran |= {"name": exhibit.name, "cases": cases}

    def repaired(one: Handed, found: dict[str, Any]) -> Graded:
        return _fixed(one, exhibit, fresh, found)

    return ran, repaired


def _plain(job: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in job.items()}


def _judged(h: Handed, prepared: Prepared, found: dict[str, Any]) -> Graded:
    if found.get("error"):
        line = f" (line {found['line']})" if found.get("line") else ""
        said = f"It could not be graded{line}: {found['error']}"
        return Graded(h, facts={"problem": str(found["error"])[:200]}, feedback=[said[:400]])
    try:
        return prepared[1](h, found)
    except Exception as error:  # tensors of the wrong kind, say: the child is not to be trusted
        said = f"It could not be graded: what it left is no result ({type(error).__name__})."
        return Graded(h, feedback=[said], facts={"problem": "no result"})


def _find(h: Handed) -> Graded:
    """Line and kind from the answer file, else from the last answer of the log."""
    if h.exercise.mode != "find":
        return Graded(h, feedback=[f"Not graded: {h.problem}."], facts={"problem": h.problem})
    exhibit = pool.resolve(h.exercise.code)
    written = [s for s in h.text.splitlines() if s.strip() and not s.lstrip().startswith("#")]
    answers = [e for e in h.events if e["event"] == "answer"]
    if written:
        words = written[0].replace(",", " ").split()
    elif answers:
        last = answers[-1]
        words = [str(last.get("line_answered") or ""), str(last.get("kind_answered") or "")]
    else:
        problem = h.problem or "answer.txt holds no answer"
        return Graded(h, feedback=[f"Not graded: {problem}."], facts={"problem": problem})
    looks = [str(e.get("instrument")) for e in h.events if e["event"] == "look"]
    try:
        line = find.line_from(words[0], exhibit)
        kind = find.kind_from(words[1], exhibit) if len(words) > 1 and words[1] else ""
    except UserError as error:
        return Graded(h, feedback=[f"Not graded: {error}"], facts={"problem": str(error)})
    given = find.answer(exhibit, h.exercise.seed, line, kind, [w for w in looks if w != "loss"])
    share = 1.0 if given.right and kind else 0.7 if given.line_right else 0.0
    facts = {
        "line_answered": line, "kind_answered": kind or None, "line_true": exhibit.lines[0],
        "kind_true": exhibit.family, "family": exhibit.family, "level": level(exhibit),
    }  # fmt: skip
    feedback = [s.strip() for s in views.answer(exhibit, given, 0, len(set(looks)), 0)]
    if given.right:
        feedback = ["Right.", *views.difference(exhibit)]
        feedback += [] if kind else [f"The kind was not given; it is {exhibit.family}."]
    return Graded(h, share, given.right and bool(kind), facts, feedback)


def _fixed(h: Handed, exhibit: pool.Exhibit, seed: int, found: dict[str, Any]) -> Graded:
    bench = fix.bench(exhibit, seed)
    outcomes = examine(bench, found["cases"])
    before = fix.before(exhibit, seed)
    remarks = [s for s in (program.outside(exhibit, h.text, exhibit.code),) if s]
    if not h.slot.allow_autograd and (said := program.asks_autograd(h.text, exhibit.shown)):
        remarks.append(said)
    made = Report(list(outcomes), before, remarks)
    wrong_at_first = [o for o in outcomes if o.name not in before]
    mended = sum(o.ok for o in wrong_at_first) / max(1, len(wrong_at_first))
    share = 1.0 if made.solved else 0.0
    if not made.solved and not made.regressions and not remarks:
        share = WEIGHTS["partial"] / 100 * mended
    facts = {
        "cases_failed": len(made.failed), "cases": len(outcomes), "regressions": len(made.regressions),
        "family": exhibit.family, "kind_true": exhibit.family, "line_true": exhibit.lines[0],
        "level": level(exhibit),
    }  # fmt: skip
    return Graded(h, share, made.solved, facts, [s.rstrip() for s in views.report(made, 0.0)[0:]])


def _detected(h: Handed, listed: list[detect.Subject], found: dict[str, Any]) -> Graded:
    marks = found["marks"]
    if len(marks) != len(listed):
        raise ValueError("another number of marks")
    for s, (_, error) in zip(listed, marks):
        if error and s.wrong is None:
            said = f"On a right program: {error}"[:300]
            return Graded(
                h, facts={"problem": said}, feedback=["Your check cannot be scored.", said]
            )
    made = detect.scored(listed, [bool(m) for m, _ in marks], found["forwards"], found["backwards"])
    facts = {
        "caught": made.caught, "twins": made.twins, "false_alarms": made.false_alarms,
        "forwards": made.forwards,
    }  # fmt: skip
    return Graded(h, made.points, made.solved, facts, [s.rstrip() for s in views.score(made)])


def table(graded: Iterable[Graded]) -> list[dict[str, Any]]:
    """attempts: the learners' own events, and one row `solve` or `answer`/`check` for each grade."""
    import bugzoo

    made: list[dict[str, Any]] = []
    for g in graded:
        h = g.handed
        own = rows(h.events, h.learner.name, h.learner.team)
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {
            "learner": h.learner.name, "team": h.learner.team, "time": now(), "code": h.exercise.code,
            "event": "solve" if g.right else "check", "mode": h.exercise.mode, "op": pool.of(h.exercise),
            "seed": h.exercise.seed, "right": g.right, "bugzoo": bugzoo.__version__,
        }  # fmt: skip
        row |= {k: v for k, v in g.facts.items() if k in COLUMNS}
        extra = {"slot": h.slot.name, "week": h.slot.week, "share": round(g.share, 4)}
        extra["problem"] = g.facts.get("problem", "")
        for one in own:
            made.append(
                one | {"slot": h.slot.name, "week": h.slot.week, "share": None, "problem": ""}
            )
        made.append(row | extra)
    return made


ATTEMPTS = (*COLUMNS, "slot", "week", "share", "problem")


def points(attempts: Iterable[dict[str, Any]], weights: dict[str, Any]) -> list[dict[str, Any]]:
    """Points of each learner in each slot: a function of the table and of six weights."""
    w = WEIGHTS | weights
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in attempts:
        groups.setdefault((row["learner"], row["slot"]), []).append(row)
    made = []
    for (learner, slot), listed in groups.items():
        last = listed[-1]
        share = float(last.get("share") or 0.0)
        paid = 0.0
        if share > 0:
            looked = {
                r["instrument"] for r in listed if r["event"] == "look" and r.get("instrument")
            }
            paid += _prices(last["mode"], last["op"], looked) if w["prices"] else 0
            rung = max(
                (int(float(r["rung"])) for r in listed if r["event"] == "hint" and r.get("rung")),
                default=0,
            )
            paid += sum(w["rungs"][:rung])
            wrong = [
                r for r in listed[:-1] if r["event"] == "answer" and str(r.get("right")) != "True"
            ]
            paid += w["wrong"] * len(wrong)
        earned = max(w["floor"] * (share > 0), w["start"] * share - paid)
        made.append(
            {
                "learner": learner, "team": last.get("team") or "", "slot": slot, "mode": last["mode"],
                "code": last["code"], "points": round(earned, 1), "of": w["start"],
                "right": str(last.get("right")) == "True",
            }
        )  # fmt: skip
    return made


def _prices(mode: str, op: str, looked: set[str]) -> float:
    from bugzoo.learn import instruments

    if mode != "find":
        return 0
    listed = instruments.LOOPS if pool.kind_of(op) == "loop" else instruments.OPS
    return sum(i.price for i in listed if i.name in looked)


def scores(by_slot: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a learner, best first is for the reader to sort: the order of the roster stays."""
    found: dict[str, dict[str, Any]] = {}
    for row in by_slot:
        one = found.setdefault(
            row["learner"],
            {
                "learner": row["learner"],
                "team": row["team"],
                "points": 0.0,
                "of": 0,
                "solved": 0,
                "slots": 0,
            },
        )
        one["points"] = round(one["points"] + row["points"], 1)
        one["of"] += row["of"]
        one["solved"] += bool(row["right"])
        one["slots"] += 1
        one[row["slot"]] = row["points"]
    return list(found.values())


def write(out: Path, graded: list[Graded], weights: dict[str, Any]) -> list[dict[str, Any]]:
    """attempts.csv, scores.csv, and feedback/NAME.md for each learner; the scores."""
    attempts = table(graded)
    by_slot = points(attempts, weights)
    made = scores(by_slot)
    earned = {(r["learner"], r["slot"]): r["points"] for r in by_slot}
    try:
        (out / "feedback").mkdir(parents=True, exist_ok=True)
        to_csv(out / "attempts.csv", ATTEMPTS, attempts)
        slots = list(dict.fromkeys(r["slot"] for r in by_slot))
        to_csv(out / "scores.csv", (*SCORES, *slots), made)
        for learner in dict.fromkeys(g.handed.learner.name for g in graded):
            mine = [g for g in graded if g.handed.learner.name == learner]
            (out / "feedback" / f"{learner}.md").write_text(
                _feedback(learner, mine, earned), "utf-8"
            )
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror}.") from None
    return made


def _feedback(learner: str, mine: list[Graded], earned: dict[tuple[str, str], float]) -> str:
    lines = [f"# {learner}", ""]
    for g in mine:
        h = g.handed
        got = earned.get((learner, h.slot.name), 0.0)
        lines += [f"## {h.slot.name}: {h.exercise.mode} {h.exercise.code}, {got:g} points", ""]
        lines += ["```", *(_safe(s) for s in g.feedback), "```", ""]
    return "\n".join(lines)


def _safe(line: str) -> str:
    """What a submission printed or named may hold anything: no control characters, no end of the block."""
    return "".join(c for c in line if c.isprintable()).replace("```", "'''")[:400]


def to_csv(path: Path, columns: Iterable[str], listed: Iterable[dict[str, Any]]) -> None:
    """Write rows; a cell that a spreadsheet would take for a formula is quoted."""
    temporary = path.with_suffix(".part")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in listed:
            writer.writerow({k: _cell(v) for k, v in row.items()})
    os.replace(temporary, path)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
