"""The mutants of a target: bred, those on untouched lines left out, a sample drawn."""

import difflib
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from bugzoo.errors import UserError
from bugzoo.mutation.breed import PRAGMA, Mutant, mutants, pairs
from bugzoo.mutation.operator import Operator, collected
from bugzoo.mutation.project.target import Target, code_in


@dataclass(frozen=True)
class Bred:
    """A mutant of a target. `code` takes the place of the target's own; lines are those of the file."""

    id: str
    operator: str
    method: str
    code: str
    first: int  # lines of the file that it changes
    last: int
    replacement: str  # what stands there instead
    diff: str


def bred(target: Target, second: int | None = None, seed: int = 0) -> list[Bred]:
    """All mutants, in the order of the file; or `second` ones of two operators, drawn with a seed.

    Raises UserError where there is none.
    """
    if target.text.split("\n")[target.first - 1].rstrip().endswith(PRAGMA):
        raise UserError(f"nothing to mutate: {target.name} is marked '{PRAGMA}'")
    made = [
        _bred(m.id, m.operator, m.method, code_in(m.text, target.name), target)
        for m in _mutants(target, second, seed)
    ]
    if not made:
        raise UserError(
            f"nothing to mutate in {target.path.name}::{target.name}: no operator fits its code.\n"
            "Expected an autograd.Function, an nn.Module with a forward, or a training step."
        )
    return sorted(made, key=lambda m: (m.first, m.operator, m.id))


STUMBLES = (SyntaxError, AttributeError, KeyError, TypeError, ValueError)


def _mutants(target: Target, second: int | None, seed: int) -> list[Mutant]:
    """The mutants; an operator that stumbles over this source is left out, not the others."""
    text, name = target.alone, target.name
    if second is not None:
        try:
            return pairs(text, name, count=second, seed=seed)
        except STUMBLES:
            return pairs(text, name, count=second, seed=seed, operators=_steady(text, name))
    try:
        return mutants(text, name)
    except STUMBLES:
        return mutants(text, name, operators=_steady(text, name))


def _steady(text: str, name: str) -> list[Operator]:
    """The operators that do not stumble over this source."""
    steady = []
    for op in collected().values():
        with suppress(*STUMBLES):
            mutants(text, name, operators=[op])
            steady.append(op)
    return steady


def within(made: Iterable[Bred], target: Target, lines: set[int]) -> list[Bred]:
    """Those in functions of which at least one of `lines` is part."""
    spans = [(a, b) for _, a, b in target.methods if lines & set(range(a, b + 1))]
    return [m for m in made if any(a <= m.first <= b for a, b in spans)]


def sample(made: list[Bred], count: int, seed: int) -> list[Bred]:
    """`count` of them, drawn with a seed: an operator with many mutants is not drawn more often.

    Operators take turns in a drawn order; each gives one of its mutants a turn.
    """
    rng = random.Random(seed)
    by_operator: dict[str, list[Bred]] = {}
    for m in made:
        by_operator.setdefault(m.operator, []).append(m)
    names = sorted(by_operator)
    rng.shuffle(names)
    for name in names:
        rng.shuffle(by_operator[name])
    drawn: list[Bred] = []
    while len(drawn) < min(count, len(made)):
        for name in names:
            if by_operator[name] and len(drawn) < count:
                drawn.append(by_operator[name].pop())
    kept = {m.id for m in drawn}
    return [m for m in made if m.id in kept]


def _bred(id: str, operator: str, method: str, code: str, target: Target) -> Bred:
    old, new = target.code.split("\n"), code.split("\n")
    changes = [
        c for c in difflib.SequenceMatcher(None, old, new, False).get_opcodes() if c[0] != "equal"
    ]
    start, stop = changes[0][1], changes[-1][2]
    begin, end = changes[0][3], changes[-1][4]
    file = target.path.name
    diff = difflib.unified_diff(
        target.text.splitlines(), target.with_code(code).splitlines(), file, file, lineterm="", n=2
    )
    return Bred(
        id=id,
        operator=operator,
        method=method,
        code=code,
        first=target.first + start,
        last=target.first + max(start, stop - 1),
        replacement="\n".join(new[begin:end]),
        diff="\n".join(diff),
    )
