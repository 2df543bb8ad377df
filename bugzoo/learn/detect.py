"""Mode detect: write `check(op, inputs)`; it is tried on right programs and on broken twins.

score = caught / twins * (1 - false alarms / right programs)
"""

import math
import random
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bugzoo.learn import fix, program
from bugzoo.learn.fix import WALL, endless
from bugzoo.learn.harmless import rewrites
from bugzoo.learn.jobs import job, seeded
from bugzoo.learn.judge import _error, _largest, examine
from bugzoo.learn.measure import measure, outputs
from bugzoo.learn.pool import Exhibit, exhibits, mutants, right
from bugzoo.learn.trying import Counted, attempt, built
from bugzoo.model import Case, Specimen
from bugzoo.mutation.deadline import Overdue, deadline
from bugzoo.source import standalone

TWINS, HARMLESS, CASES = 15, 3, 3
ENOUGH = 0.8  # of the twins: the last ones need the eye for an edge that another exercise teaches
LIMIT = 20.0  # seconds of processor time
LAST = ("dtype-precision",)  # survivors that teach least: a limit, not an idea
CLEAR = 0.05  # relative: an error that nobody takes for rounding
SEEN = ("value", "side_effect", "reentrancy", "contract")
TEMPLATE = '''\
"""{title}

Write `check`: True where the backward pass of `op` looks right, False where it is wrong.

`op(*inputs)` is one of many programs for the same operation, right or broken, without name or source.
`inputs` are fresh tensors; the floating ones are leaves that require grad. Call it as often as you
like, with these inputs or with others that you make. `bugzoo learn check` tries it on all of them.
"""

import torch

from bugzoo import Verdict, detector


def check(op, inputs):
    y = op(*inputs)
    y.sum().backward()  # is there more to see than this?
    return all(x.grad is not None for x in inputs if x.requires_grad)


@detector(needs="operation", claims="value", cost="1 forward, 1 backward", blind_to="say what")
def {name}(subject, gen):
    """The same check for `bugzoo run --detectors {file}`: the big table, with its own row."""
    fine = check(subject.op, subject.inputs(gen))
    return Verdict("clear" if fine else "alarm", 0.0 if fine else 1.0, f"check says {{fine}}")
'''


@dataclass(frozen=True, eq=False)
class Subject:
    """A program to be checked. `wrong`: its exhibit, None for a right one. `cases`: where it is tried."""

    text: str
    cases: tuple[Case, ...]
    wrong: Exhibit | None = None


@dataclass
class Score:
    """What a check caught, and what it cost. `survivors`: the broken ones that it let pass."""

    caught: int
    twins: int
    false_alarms: int
    healthy: int
    forwards: float
    backwards: float
    survivors: list[Exhibit] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    error: str = ""
    marks: list[bool] = field(default_factory=list)

    @property
    def points(self) -> float:
        return self.caught / max(1, self.twins) * (1 - self.false_alarms / max(1, self.healthy))

    @property
    def solved(self) -> bool:
        return not self.error and self.caught >= ENOUGH * self.twins and not self.false_alarms

    def to_dict(self) -> dict[str, Any]:
        return {
            "solved": self.solved,
            "caught": self.caught,
            "twins": self.twins,
            "false_alarms": self.false_alarms,
            "healthy": self.healthy,
            "score": round(self.points, 4),
            "forwards": self.forwards,
            "backwards": self.backwards,
            "error": self.error,
            "survivor": self.story,
        }


def template(op: str, code: str) -> str:
    """The file that the learner begins with: a weak check that is also a detector of the zoo."""
    from bugzoo.learn import text
    from bugzoo.learn.fix import _doc

    said = text.formula(_doc(right(op).cls)).replace("\n", "\n\n", 1)
    return TEMPLATE.format(title=said, name="my_check", file="check.py")


def subjects(op: str, seed: int) -> list[Subject]:
    """Right programs and broken twins, drawn by the seed, the order shuffled."""
    rng = random.Random(f"{op}:detect:{seed}")
    base = right(op)
    cases: list[Any] = list(base.truth.cases)
    known = {c.name: c for c in cases}
    once = {
        e.code: e for e in reversed(list(exhibits(op)))
    }  # a mutant may be a twin that has a story
    broken = [e for e in once.values() if e.correct and _fit(e.broken, known)]
    broken.sort(key=lambda e: e.code)
    rng.shuffle(broken)
    chosen = _spread(broken)[:TWINS]
    found = [Subject(standalone(e.broken.cls), _cases(e.broken, cases, known), e) for e in chosen]
    where = tuple(dict.fromkeys([cases[0], *(c for s in found for c in s.cases)]))[:CASES]
    text = standalone(base.cls)
    healthy = [text, *rewrites(text, seed, HARMLESS)]
    same = sorted(mutants(op, healthy=True), key=lambda s: s.id)
    rng.shuffle(same)
    healthy += [standalone(s.cls) for s in same[:HARMLESS]]
    found += [Subject(t, where) for t in dict.fromkeys(healthy)]
    rng.shuffle(found)
    return found


def _fit(s: Specimen, known: dict[str, Case]) -> bool:
    assert s.label is not None
    return s.label.channel in SEEN and any(c in known for c in s.label.shown_by)


def _cases(s: Specimen, cases: list[Case], known: dict[str, Case]) -> tuple[Case, ...]:
    """The plain case, and one that shows the mistake where the plain one does not."""
    assert s.label is not None
    shown = [known[c] for c in s.label.shown_by if c in known]
    return (cases[0],) if cases[0] in shown else (cases[0], shown[0])


def _spread(listed: list[Exhibit]) -> list[Exhibit]:
    """In turns of families and operators, so that a common mistake does not fill the sample."""
    seen: Counter[str] = Counter()
    ranked = []
    for e in listed:
        key = f"{e.family} {e.broken.operator or e.broken.id}"
        ranked.append(((seen[key], seen[e.family]), e))
        seen[key] += 1
        seen[e.family] += 1
    return [e for _, e in sorted(ranked, key=lambda pair: pair[0])]


def score(
    op: str,
    seed: int,
    path: Path | str,
    *,
    text: str | None = None,
    check: Callable[..., Any] | None = None,
    limit: float = LIMIT,
) -> Score:
    """Try the check on every subject. UserError where the file cannot be run."""
    listed = subjects(op, seed)
    forwards = backwards = 0
    marks: list[bool] = []
    used: list[Counted] = []
    try:
        with deadline(limit, WALL * limit), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if check is None:
                source = program.read(Path(path)) if text is None else text
                check = program.compiled(source, str(path), "check")
            for n, subject in enumerate(listed):
                counted, fine, error = tried(check, subject, seeded(op, str(n), seed))
                if error and subject.wrong is None:
                    twins = sum(s.wrong is not None for s in listed)
                    return Score(0, twins, 0, len(listed) - twins, 0, 0, error=error)
                forwards += counted.forwards
                backwards += counted.backwards
                marks.append(fine)
                used.append(counted)
    except Overdue as over:
        twins = sum(s.wrong is not None for s in listed)
        said = f"your check did not return: {endless(over)}"
        return Score(0, twins, 0, len(listed) - twins, 0, 0, error=said)
    return scored(listed, marks, forwards, backwards, used)


def scored(
    listed: list[Subject],
    marks: list[bool],
    forwards: int,
    backwards: int,
    used: list[Counted] | None = None,
) -> Score:
    """The score from a mark for each subject: True where the check found nothing wrong."""
    twins = [(s, fine) for s, fine in zip(listed, marks) if s.wrong is not None]
    healthy = [fine for s, fine in zip(listed, marks) if s.wrong is None]
    left = [s.wrong for s, fine in twins if fine and s.wrong is not None]
    made = Score(
        caught=len(twins) - len(left),
        twins=len(twins),
        false_alarms=healthy.count(False),
        healthy=len(healthy),
        forwards=round(forwards / max(1, len(listed)), 1),
        backwards=round(backwards / max(1, len(listed)), 1),
        survivors=left,
        marks=marks,
    )
    if left:
        at = {s.wrong.code: n for n, s in enumerate(listed) if s.wrong is not None}
        chosen, like = _instructive(left, listed, used)
        made.story = _story(
            chosen, like, used[at[chosen.code]] if used else None, listed[at[chosen.code]]
        )
    return made


def tried(check: Callable[..., Any], subject: Subject, seed: int) -> tuple[Counted, bool, str]:
    """The passes used; whether the check is content; what it raised on the way, if not an assertion."""
    return attempt(check, subject.text, draws(subject, seed), seed)


def draws(subject: Subject, seed: int) -> list[tuple[Any, Any]]:
    """Inputs and extras of each case in which the subject is tried."""
    return [(c.draw(torch.Generator().manual_seed(seed)), c.extras) for c in subject.cases]


def _instructive(
    left: list[Exhibit], listed: list[Subject], used: list[Counted] | None
) -> tuple[Exhibit, int]:
    """The survivor that stands for the most others, and how many more those are; precision comes last.

    Siblings are those that pass for one reason. Of these one that no cotangent of ones shows, if that
    was the reason; else the one that is wrong in most cases, and not by a little, on one line.
    """
    of = {s.wrong.code: s for s in listed if s.wrong is not None}
    plain = {s.wrong.code: u.plain for s, u in zip(listed, used or []) if s.wrong is not None}
    reasons = {e.code: _reason(e, of[e.code], plain.get(e.code, False)) for e in left}
    counts = Counter(reasons.values())
    reason = min(counts, key=lambda r: (r in LAST, -counts[r], r))

    def rank(e: Exhibit) -> tuple[Any, ...]:
        assert e.broken.label is not None
        off = max((n for n in _errors(of[e.code], e) if n < math.inf), default=0.0)
        seen = reason == "ones" and _under_ones(e, of[e.code])[2] > CLEAR * 1e-3
        shown = len(e.broken.label.shown_by)
        return (len(e.lines) > 1, seen, off < CLEAR, -shown, e.mutant, e.code)

    return min((e for e in left if reasons[e.code] == reason), key=rank), counts[reason] - 1


def _reason(e: Exhibit, subject: Subject, plain: bool) -> str:
    """Why a check may let it pass. `plain`: all its cotangents were ones."""
    if e.family in LAST:
        return e.family
    if _channel(e) != "value":
        return _channel(e)
    if plain:
        return "ones"
    return "value" if len(subject.cases) == 1 else "other inputs"


def _channel(e: Exhibit) -> str:
    assert e.broken.label is not None
    return e.broken.label.channel


def _story(e: Exhibit, like: int, used: Counted | None, subject: Subject) -> list[str]:
    """The survivor's lines, and why the check let it pass, as far as its passes tell."""
    shown = e.shown.splitlines()
    more = f" ({like} more like it)" if like else ""
    lines = [f"One survivor{more}:"]
    lines += [f"  {n:3d}  {shown[n - 1].strip()}" for n in e.lines[:3]]
    channel = _channel(e)
    label = e.broken.label
    assert label is not None
    if channel == "side_effect":
        lines.append(
            "It writes into a tensor that it was only lent. Compare them before and after."
        )
    elif channel == "reentrancy":
        lines.append("Its first backward is right. Use it twice, or with another call in between.")
    elif channel == "contract":
        lines.append(_protocol(e))
    elif used is not None and used.backwards == 0:
        lines.append("Your check made no backward pass.")
    elif used is not None and used.plain:
        lines += _ones(e, subject)
    elif len(subject.cases) > 1:
        shapes = ", ".join(sorted(used.shapes)[:4]) if used else "one size"
        lines.append(f"It shows in other inputs: {subject.cases[1].name}. Yours: {shapes}.")
    else:
        off = max((n for n in _errors(subject, e) if n < math.inf), default=0.0)
        if off:
            lines.append(
                f"Under some cotangents its gradient is off by {off:.0e} (relative): yours were not among "
                f"them, or your limit is wider."
            )
        else:
            lines.append(
                "Called once, alone, it is right: it keeps something from one call to the next."
            )
    return lines


def _protocol(e: Exhibit) -> str:
    """What is wrong with a program beside the values of its gradient, as measured."""
    held = fix.bench(e, 0)
    kind = program.compiled(e.shown, f"<{e.code}>", e.name)
    for outcome in examine(held, fix.measured(held, kind)):
        if outcome.words and math.isinf(outcome.error):
            said = outcome.words[0].removesuffix(":") + "".join(outcome.words[1:2]) * outcome.raised
            return f"In `{outcome.name}`: {said}. Values alone do not show it."
    return "It breaks autograd's protocol: a zero cotangent, or one input alone requiring grad."


def _errors(subject: Subject, e: Exhibit) -> list[float]:
    """How far the survivor's gradients are off in the case in which it was tried."""
    made = job(e.right, subject.cases[0], 0)
    mine, true = (measure(built(t).apply, made) for t in (subject.text, standalone(e.right.cls)))
    return [
        _error(torch.zeros_like(b) if a is None else a, b)
        for a, b in zip(mine.get("dx", []), true["dx"])
        if b is not None
    ]


def _under_ones(e: Exhibit, subject: Subject) -> tuple[float, float, float]:
    """For a cotangent of ones: the largest element of the true gradient, of the twin's, and their gap."""
    case = subject.cases[0]
    found = []
    for text in (standalone(e.right.cls), subject.text):
        x = case.draw(torch.Generator().manual_seed(0))
        wrt = [t for t in x if isinstance(t, Tensor) and t.requires_grad]
        y = outputs(built(text).apply(*x, *case.extras))
        grads = torch.autograd.grad(y, wrt, [torch.ones_like(b) for b in y], allow_unused=True)
        found.append([torch.zeros_like(t) if d is None else d for t, d in zip(wrt, grads)])
    true, twin = (max(map(_largest, side), default=0.0) for side in found)
    gap = max(map(_error, found[1], found[0]), default=0.0) if max(true, twin) > 1e-9 else 0.0
    return true, twin, gap


def _ones(e: Exhibit, subject: Subject) -> list[str]:
    """What the true gradient and the twin's are for a cotangent of ones."""
    true, twin, gap = _under_ones(e, subject)
    if max(true, twin) < 1e-9:
        return [
            f"Your g was all ones. For this operation the true dx is then 0 (at most {true:.0e}), and "
            f"so is the twin's: you compared 0 with 0."
        ]
    if true < 1e-9 and twin < 1e-4:
        return [
            f"Your g was all ones. For this operation the true dx is then 0, and the twin's at most "
            f"{twin:.0e}: there was next to nothing to compare. Use a random one."
        ]
    if gap < CLEAR * 1e-3:
        return ["Your g was all ones, and for that g its gradient is right. Use a random one."]
    return ["Your g was all ones, the gradient of a sum. Use a random one."]
