"""Mode find: read the program, buy readings, name the line and the kind of mistake.

A wrong answer is refuted by readings that are on the screen already: all known ways to break the
line that was named are measured with the instruments that were bought.
"""

import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bugzoo.errors import UserError, did_you_mean
from bugzoo.learn import instruments, program, text
from bugzoo.learn.fix import bench
from bugzoo.learn.instruments import Reading
from bugzoo.learn.pool import Exhibit, exhibits
from bugzoo.model import FAMILIES

START, WRONG, FLOOR = 100, 15, 10
RUNGS = (10, 20, 30, 30)
MOST = 12  # other ways to break a line that are measured
OPERATION = (
    "wrong-math", "missing-reduction", "layout-stride", "masking-boundary", "scaling",
    "dtype-precision", "saved-tensor-mutation", "higher-order", "graph-cut", "api-contract",
    "rng-recompute", "memory-retention",
)  # fmt: skip
LOOP = (
    "accumulation-zeroing", "hooks-clip-optimizer", "scaling", "graph-cut", "saved-tensor-mutation",
    "missing-reduction", "dtype-precision", "masking-boundary", "rng-recompute", "higher-order",
    "distributed", "memory-retention", "wrong-math", "api-contract",
)  # fmt: skip


# A lost factor, a lost sum and a wrong formula are one another's neighbours: no quarrel about words.
NEAR = frozenset({"wrong-math", "missing-reduction", "scaling"})


@dataclass(frozen=True)
class Answer:
    """`right`: line and, if given, kind. `words`: what speaks for or against, line by line."""

    line: int
    kind: str
    line_right: bool
    kind_right: bool
    words: tuple[str, ...]

    @property
    def right(self) -> bool:
        return self.line_right and self.kind_right


def kinds(exhibit: Exhibit) -> tuple[str, ...]:
    """The kinds of mistake to choose from."""
    return LOOP if exhibit.right.kind == "loop" else OPERATION


def kind_from(word: str, exhibit: Exhibit) -> str:
    """A kind by its name, its beginning or its number. UserError where it is none."""
    known = kinds(exhibit)
    if word.isdecimal() and 1 <= int(word) <= len(known):
        return known[int(word) - 1]
    found = [k for k in known if k == word.lower()] or [
        k for k in known if k.startswith(word.lower())
    ]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise UserError(f"kind '{word}' could be {' or '.join(found)}.")
    listed = ", ".join(f"{n} {k}" for n, k in enumerate(known, 1))
    raise UserError(f"unknown kind '{word}'.{did_you_mean(word, known)} Kinds: {listed}.")


def line_from(word: str, exhibit: Exhibit) -> int:
    """A line number of the exhibit. UserError where it is none."""
    lines = exhibit.shown.splitlines()
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= len(lines)):
        raise UserError(
            f"'{word}' is no line of the exhibit: expected a number from 1 to {len(lines)}. "
            f"For example: answer {len(lines)} scaling"
        )
    shown = [int(s.split()[0]) for s in text.code_lines(exhibit.shown) if len(s.split()) > 1]
    if int(word) not in shown:
        raise UserError(
            f"line {word} has no code that is shown: lines {shown[0]} to {shown[-1]} have. Nothing is counted."
        )
    return int(word)


def instrument_from(word: str, exhibit: Exhibit, seed: int) -> instruments.Instrument:
    known = instruments.listed(bench(exhibit, seed))
    if word not in known:
        near = did_you_mean(word, known)
        raise UserError(f"there is no instrument '{word}'.{near} There are: {', '.join(known)}.")
    return known[word]


@lru_cache(maxsize=512)
def reading(exhibit: Exhibit, shown: Exhibit, seed: int, name: str) -> Reading:
    """What the instrument reads on `shown`, on the bench of `exhibit`."""
    held = bench(exhibit, seed)
    kind = _kind(shown)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return instruments.read(instruments.listed(held)[name], held, kind)


def look(exhibit: Exhibit, seed: int, name: str) -> Reading:
    """What the instrument reads on the exhibit."""
    instrument_from(name, exhibit, seed)
    return reading(exhibit, exhibit, seed, name)


def answer(exhibit: Exhibit, seed: int, line: int, kind: str, looks: list[str]) -> Answer:
    """Is it this line, and a mistake of this kind ('' for no opinion)?"""
    line_right = line in exhibit.lines
    kind_right = not kind or kind == exhibit.family or {kind, exhibit.family} <= NEAR
    if line_right and kind_right:
        return Answer(line, kind, True, True, ())
    said: list[str] = []
    if not line_right:
        said += refuted(exhibit, seed, line, looks)
        if kind and not kind_right:
            said.append(f'The kind is not "{kind}" either.')
    else:
        said.append(f'Line {line} it is. But the kind is not "{kind}" ({FAMILIES[kind]}).')
    return Answer(line, kind, line_right, kind_right, tuple(said))


def refuted(exhibit: Exhibit, seed: int, line: int, looks: list[str]) -> list[str]:
    """Why it is not this line, as far as the readings that were bought tell."""
    bought = [n for n in dict.fromkeys(looks) if n in instruments.listed(bench(exhibit, seed))]
    if not exhibit.shown.splitlines()[line - 1].strip():
        return [f"Not line {line}: it is empty."]
    if not bought:
        return [
            f"Not line {line}. You have measured nothing yet, so nothing on the screen could have told "
            f"you. Look before you answer: `loss` is free."
        ]
    others = broken_at(exhibit, line)[:MOST]
    if not others:
        return [f"Not line {line}: no known way to break that line gives a wrong gradient."]
    against: Counter[str] = Counter()
    example: dict[str, str] = {}
    left = 0
    for other in others:
        for name in sorted(bought, key=lambda n: n == "loss"):
            mine = reading(exhibit, exhibit, seed, name)
            theirs = reading(exhibit, other, seed, name)
            if at := mine.differs(theirs):
                against[name] += 1
                example.setdefault(name, _contradiction(name, at, mine, theirs))
                break
        else:
            left += 1
    ways = f"{_count(len(others))} way{'s' * (len(others) > 1)} to break line {line}"
    verb = "were" if len(others) > 1 else "was"
    if not left:
        lines = [f"Not line {line}. {ways.capitalize()} {verb} tried; your readings rule out all:"]
    else:
        lines = [f"Not line {line}. {ways.capitalize()} {verb} tried:"]
    lines += [f"  {n} of them: {example[name]}" for name, n in against.most_common()]
    if left:
        verb = "reads" if left == 1 else "read"
        lines.append(
            f"  {left} of them {verb} just like yours. Another instrument would have told."
        )
    return lines


def _contradiction(name: str, at: str, mine: Reading, theirs: Reading) -> str:
    """Which number of the reading says so, in the words of the screen."""
    if at.startswith("shape of"):
        return f"{name}: the {at} would be another"
    if at.startswith("raises"):
        return f"{name}: it would not raise, yours does"
    if "raises" in theirs.values:
        return f"{name}: it would raise, yours does not"
    return f"{name}: {at} would be {theirs.says(at)}, you measured {mine.says(at)}"


def broken_at(exhibit: Exhibit, line: int) -> list[Exhibit]:
    """Other wrong programs of the operation whose mistake stands at this line of the exhibit."""
    found = []
    for other in exhibits(exhibit.op):
        if other.code == exhibit.code or other.correct != exhibit.correct:
            continue
        right_lines: set[int] = set()
        for tag, a, b, _, _ in text.blocks(other.correct, other.shown):
            if tag != "equal":
                right_lines |= set(range(a + 1, b + 1)) or {a + 1}
        if line in {text.numbered(exhibit.correct, exhibit.shown, n) for n in right_lines}:
            found.append(other)
    return sorted(found, key=lambda e: e.code)


@lru_cache(maxsize=256)
def _kind(shown: Exhibit) -> Any:
    return program.compiled(shown.shown, f"<{shown.code}>", shown.name)


def points(looks: list[str], wrong: int, hints: int, prices: dict[str, int]) -> int:
    """What is left of 100 after instruments, wrong answers and hints; 10 at least."""
    spent = sum(prices.get(n, 0) for n in dict.fromkeys(looks))
    return max(FLOOR, START - spent - WRONG * wrong - sum(RUNGS[:hints]))


def _count(n: int) -> str:
    words = [
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
    return words[n] if n < len(words) else str(n)
