"""Mode detect: write `check(op, inputs)`; it is tried on right programs and on broken twins.

score = caught / twins * (1 - false alarms / right programs)
"""

import random
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bugzoo.learn import program, survivor
from bugzoo.learn.fix import WALL, endless
from bugzoo.learn.harmless import rewrites
from bugzoo.learn.jobs import seeded
from bugzoo.learn.pool import Exhibit, exhibits, mutants, right
from bugzoo.learn.trying import Counted, attempt
from bugzoo.model import Case, Specimen
from bugzoo.mutation.deadline import Overdue, deadline
from bugzoo.source import standalone

TWINS, HARMLESS, CASES = 15, 3, 3
ENOUGH = 0.8  # of the twins: the last ones need the eye for an edge that another exercise teaches
LIMIT = 20.0  # seconds of processor time
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
        chosen, like = survivor.instructive(left, listed, used)
        made.story = survivor.story(
            chosen, like, used[at[chosen.code]] if used else None, listed[at[chosen.code]]
        )
    return made


def tried(check: Callable[..., Any], subject: Subject, seed: int) -> tuple[Counted, bool, str]:
    """The passes used; whether the check is content; what it raised on the way, if not an assertion."""
    return attempt(check, subject.text, draws(subject, seed), seed)


def draws(subject: Subject, seed: int) -> list[tuple[Any, Any]]:
    """Inputs and extras of each case in which the subject is tried."""
    return [(c.draw(torch.Generator().manual_seed(seed)), c.extras) for c in subject.cases]
