"""The author's gate: is this specimen fit to be an exercise? A sentence for each thing that is not.

The claims of its label are proved by `bugzoo verify`; here it is held to what a learner needs.
"""

import ast
import warnings
from collections.abc import Iterator
from urllib.parse import urlparse

from bugzoo.learn import find, fix, hints, instruments, judge, naive, text
from bugzoo.learn import path as paths
from bugzoo.learn.jobs import Bench
from bugzoo.learn.measure import leaves
from bugzoo.learn.pool import Exhibit, exhibits, handmade, mutants, named
from bugzoo.model import Context

MOST_LINES = 8  # in which exhibit and right program may differ
FEWEST = 3  # other mistakes of the operation that are known
BLIND = {"memory-retention"}  # no reading but one tells them apart


def operation(op: str) -> Iterator[str]:
    """What is wrong with the operation's cases, and with each of its hand-made twins."""
    for s in handmade(op):
        if s.twin == "broken":
            yield from exhibit(named(s.id))
    yield from _cases(op)


def exhibit(e: Exhibit, seed: int = 0) -> Iterator[str]:
    """Everything that is wrong with one exhibit, each in a sentence that begins with its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for said in (*_text(e), *_label(e), *_shown(e, seed), *_solvable(e, seed)):
            yield f"{e.broken.id}: {said}"


def _text(e: Exhibit) -> Iterator[str]:
    if e.shown == e.correct:
        yield "it is solved already: the exhibit is the right program"
        return
    if not e.lines:
        yield "no line of the exhibit answers 'which line is wrong?'"
    if len(e.lines) > MOST_LINES:
        yield f"{len(e.lines)} lines differ from the right program; at most {MOST_LINES}"
    if len(e.methods) > 2:
        yield f"it differs in {', '.join(e.methods)}; one method, or two"
    if "#" in text.bare(e.shown).replace('"#"', ""):
        yield "a comment is left in the exhibit"
    names = {n.name for n in ast.walk(ast.parse(e.shown)) if isinstance(n, ast.ClassDef)}
    own = e.broken.cls.__name__
    if own in names and own != e.name:
        yield f"the exhibit names its twin, {own}"


def _label(e: Exhibit) -> Iterator[str]:
    said = e.broken.label
    assert said is not None
    if e.family not in find.kinds(e):
        yield f"its family {e.family} is not among the kinds that can be answered"
    for address in said.seen:
        if urlparse(address).scheme not in ("http", "https") or not urlparse(address).netloc:
            yield f"'{address}' is no address"
    question = hints.QUESTIONS.get(e.family, "")
    if not question.endswith("?"):
        yield f"the family {e.family} has no question"
    right = e.correct.splitlines()
    if any(line.strip() and len(line.strip()) > 12 and line.strip() in question for line in right):
        yield "the question holds a line of the answer"


def _shown(e: Exhibit, seed: int) -> Iterator[str]:
    """Every message can be made; the right program passes; a twin fails somewhere."""
    held = fix.bench(e, seed)
    wrong = fix.measured(held, find._kind(e))
    outcomes = judge.examine(held, wrong)
    leak = e.broken.label is not None and e.broken.label.channel == "memory"
    if all(o.ok for o in outcomes) and not leak:
        yield "no hidden case shows it"
    for o in outcomes:
        if not o.ok and not all(w.strip() for w in o.words):
            yield f"in {o.name} a line of the message is empty"
    right = judge.examine(held, fix.measured(held, e.right.cls))
    yield from (f"the right program fails in {o.name}: {o.words[0]}" for o in right if not o.ok)
    level = naive.level(e, seed)
    if not 1 <= level <= 5:
        yield f"its level is {level}"


def _solvable(e: Exhibit, seed: int) -> Iterator[str]:
    """Some reading tells it from the right program, so that there is something to be seen."""
    if e.family in BLIND:
        return
    held = fix.bench(e, seed)
    for instrument in instruments.listed(held).values():
        if instrument.name == "loss":
            continue
        mine = instruments.read(instrument, held, find._kind(e))
        if mine.differs(instruments.read(instrument, held, e.right.cls)):
            return
    yield "no instrument reads anything but what the right program gives"


def _cases(op: str) -> Iterator[str]:
    """No case may be degenerate: every answer 0 in all of them, or all axes of one length."""
    listed = [e for e in exhibits(op) if not e.mutant]
    if not listed:
        return
    held = Bench.of(listed[0], 0)
    sizes: list[tuple[int, ...]] = []
    alive = 0
    for case in held:
        if isinstance(case, Context):
            return
        job, true = held.truth(case)
        sizes += [tuple(x.shape) for x in leaves(job["inputs"])]
        alive += any(d is not None and judge._largest(d) > 1e-9 for d in true["dx"])
    if not alive:
        yield f"{op}: in every case every answer is 0"
    matrices = [s for s in sizes if len(s) > 1]
    if matrices and all(len(set(s)) == 1 for s in matrices):
        yield f"{op}: all axes have one length in every case, which hides transposes"
    if len(mutants(op)) < FEWEST:
        yield f"{op}: fewer than {FEWEST} other mistakes are known"


def path() -> Iterator[str]:
    """The path: every step resolves, no exhibit comes twice, every part has its five."""
    seen: set[str] = set()
    for step in paths.STEPS:
        if step.about in seen and step.mode in ("find", "fix"):
            yield f"step {step.number}: {step.about} comes twice"
        seen.add(step.about)
        if step.mode in ("find", "fix"):
            yield from exhibit(named(step.about), step.number)
        if not step.taught.endswith("."):
            yield f"step {step.number}: what it taught is no sentence"
    for part in range(len(paths.PARTS)):
        if sum(s.part == part for s in paths.STEPS) != 5:
            yield f"part {part + 1} has not five steps"
