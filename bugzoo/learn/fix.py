"""Mode fix: edit the file until every hidden case passes, and break none on the way."""

import difflib
import random
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from bugzoo.errors import UserError
from bugzoo.learn import program
from bugzoo.learn.jobs import Bench
from bugzoo.learn.judge import Outcome, Report, examine
from bugzoo.learn.measure import Measured
from bugzoo.learn.pool import Exhibit
from bugzoo.mutation.deadline import Overdue, deadline
from bugzoo.mutation.leak import passes, suspected
from bugzoo.oracle import memory
from bugzoo.oracle.probe import Probe

LIMIT = 20.0  # seconds of processor time for a check
WALL = 3.0  # times that, by the clock, for one that waits
FRESH = 3  # cases drawn for one check alone, once all others pass
BUDGET = 3  # times the tensor operations of the right backward


def header(exhibit: Exhibit, seed: int) -> str:
    """The text of the file that the learner edits."""
    from bugzoo.learn import text

    where = " and ".join(f"`{m}`" if m else "the class body" for m in exhibit.methods)
    said = text.formula(_doc(exhibit.right.cls))
    return f'"""Repair {where} until `bugzoo learn check` is content. Edit nothing else.\n\n{said}\n"""\n\n'


def source(exhibit: Exhibit, seed: int) -> str:
    """The exercise file as it is handed out."""
    return header(exhibit, seed) + exhibit.shown


def _doc(cls: type) -> str:
    import sys

    return sys.modules[cls.__module__].__doc__ or ""


def bench(exhibit: Exhibit, seed: int) -> Bench:
    return _bench(exhibit.code, seed, exhibit)


@lru_cache(maxsize=8)
def _bench(code: str, seed: int, exhibit: Exhibit) -> Bench:
    return Bench.of(exhibit, seed)


@lru_cache(maxsize=8)
def before(exhibit: Exhibit, seed: int) -> tuple[str, ...]:
    """The cases that the exhibit as given has right."""
    kind = program.compiled(exhibit.shown, f"<{exhibit.code}>", exhibit.name)
    held = bench(exhibit, seed)
    return tuple(o.name for o in examine(held, measured(held, kind)) if o.ok)


def measured(held: Bench, kind: Any, file: str = "") -> dict[str, Measured]:
    """What `kind` delivers in every case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: held.measured(kind, case, file) for case in held}


def check(
    exhibit: Exhibit,
    seed: int,
    path: Path | str,
    *,
    text: str | None = None,
    allow_autograd: bool = False,
    limit: float = LIMIT,
) -> Report:
    """The report on the learner's file. UserError where it cannot be run at all."""
    file = str(path)
    source = program.read(Path(path)) if text is None else text
    remarks = [said for said in (program.outside(exhibit, source, file),) if said]
    if not allow_autograd and (said := program.asks_autograd(source, exhibit.shown)):
        remarks.append(said)
    if program.ends(source):
        raise UserError(_ends(file))
    held = bench(exhibit, seed)
    try:
        with deadline(limit, WALL * limit):
            kind = program.compiled(source, file, exhibit.name)
            return _judged(exhibit, seed, held, kind, file, remarks, allow_autograd)
    except SystemExit:
        raise UserError(_ends(file)) from None
    except Overdue as over:
        said = endless(over)
        late = Outcome("all", "-", float("inf"), 0.0, (said,), raised=True)
        return Report([late], before(exhibit, seed), timed_out=True)


def endless(over: Overdue) -> str:
    """The sentence about a time limit."""
    said = str(over).replace(" seconds", " s")
    return said if said.endswith("?") else f"{said}: is there a loop that never ends?"


def _ends(file: str) -> str:
    return (
        f"{file} ends the whole program (exit): a backward pass returns gradients. Take the call out and "
        f"check again; nothing has been scored."
    )


def _judged(
    exhibit: Exhibit,
    seed: int,
    held: Bench,
    kind: Any,
    file: str,
    remarks: list[str],
    allow_autograd: bool,
) -> Report:
    got = measured(held, kind, file)
    outcomes = examine(held, got)
    fresh = 0
    if all(o.ok for o in outcomes):
        outcomes += _leaks(held, kind)
        if not held.loop:
            again = Bench.of(exhibit, random.SystemRandom().getrandbits(30))
            again.cases = again.cases[:FRESH]
            outcomes += examine(again, measured(again, kind, file))
            fresh = FRESH
    ops = (0, 0)
    if not held.loop:
        case = held.cases[0]
        names = got[case.name].get("ops", [])
        true = held.truth(case)[1].get("ops", [])
        ops = (len(names), len(true))
        if not allow_autograd and not remarks and (said := _forbidden(names, true)):
            remarks = [*remarks, said]
    return Report(outcomes, before(exhibit, seed), remarks, ops, fresh)


def _forbidden(names: list[str], true: list[str]) -> str:
    asked = next((n for n in names if n.endswith("_backward") and n not in true), "")
    if asked:
        return f"your backward runs torch's own {asked}; this exercise wants the formula"
    if len(names) > BUDGET * len(true) + 12:
        return (
            f"your backward takes {len(names)} tensor operations, the formula {len(true)}: are these "
            f"differences of the forward?"
        )
    return ""


def _leaks(held: Bench, kind: Any) -> list[Outcome]:
    """One more outcome where each pass, or each step, leaves bytes alive."""
    case = held.cases[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if held.loop:
            loop = kind(torch.Generator().manual_seed(held.seed), **case.options)
            seen = memory.examine_loop(loop, max(case.steps, 24))
        else:
            probe = Probe(kind.apply, held.right.truth, case, torch.Generator().manual_seed(0))
            if not suspected(passes(probe)):
                return []
            again = Probe(kind.apply, held.right.truth, case, torch.Generator().manual_seed(0))
            seen = memory.examine(again)
    return [Outcome("memory", "-", seen.error, memory.LEAK, (seen.words,))] if seen.awake else []


def lines_changed(exhibit: Exhibit, source: str) -> tuple[int, int]:
    """Lines that the learner changed, and lines in which the exhibit differs from the right program."""
    body = source.partition('"""\n\n')[2] if source.startswith('"""') else source
    return _differ(exhibit.shown, body), _differ(exhibit.shown, exhibit.correct)


def _differ(a: str, b: str) -> int:
    before, after = ([s.strip() for s in t.splitlines() if s.strip()] for t in (a, b))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return sum(max(j - i, d - c) for tag, i, j, c, d in matcher.get_opcodes() if tag != "equal")
