"""What exercises are made of: hand-made twins, and the mutants of the frozen set, file by file.

Only the file that a code's letters lead to is imported, so that one exercise is ready at once.
"""

import hashlib
import importlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bugzoo import catalog as catalogs
from bugzoo import source
from bugzoo.errors import UserError, did_you_mean
from bugzoo.learn import text
from bugzoo.learn.exercise import Exercise
from bugzoo.model import FAMILIES, Specimen

HOME = Path(catalogs.__file__).parent / "specimens"
GROUPS = ("operations", "loops")


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A wrong program to be found or repaired, beside the right one. `lines` count in `shown`.

    `methods`: those in which the two differ. `name`: the name of the class in both texts.
    """

    code: str
    broken: Specimen
    right: Specimen
    shown: str
    correct: str

    @property
    def name(self) -> str:
        return self.right.cls.__name__

    @property
    def op(self) -> str:
        return self.right.file

    @property
    def lines(self) -> tuple[int, ...]:
        return text.wrong_lines(self.correct, self.shown)

    @property
    def methods(self) -> tuple[str, ...]:
        return text.changed_methods(self.correct, self.shown, self.name)

    @property
    def family(self) -> str:
        assert self.broken.label is not None
        return self.broken.label.family

    @property
    def mutant(self) -> bool:
        """Bred by rule, not written by hand: it has no story."""
        return bool(self.broken.operator)


@lru_cache(maxsize=1)
def letters() -> dict[str, str]:
    """Letters -> file of an operation or a loop, unique. No import is needed."""
    found: dict[str, str] = {}
    for group in GROUPS:
        for path in sorted((HOME / group).glob("[!_]*.py")):
            made = next(name for name in _names(path.stem) if name not in found)
            found[made] = f"{group}.{path.stem}"
    return found


def _names(stem: str) -> Iterator[str]:
    words = stem.upper().split("_")
    if len(words) > 1:
        yield "".join(w[0] for w in words)[:4]
    joined = "".join(words)
    for n in range(1, len(joined)):
        yield joined[0] + joined[n]
    for n in range(2, len(joined)):
        yield joined[: n + 1][:4]


def ops() -> list[str]:
    """The names of all operations and loops."""
    return [dotted.partition(".")[2] for dotted in letters().values()]


def letters_of(op: str) -> str:
    """The letters of an operation. UserError where there is none of this name."""
    for made, dotted in letters().items():
        if dotted.partition(".")[2] == op:
            return made
    near = did_you_mean(op, ops())
    raise UserError(f"there is no operation '{op}'.{near} 'bugzoo list' shows all.")


def kind_of(op: str) -> str:
    """'operation' or 'loop', from the folder of the file."""
    return "loop" if letters()[letters_of(op)].startswith("loops.") else "operation"


@lru_cache(maxsize=128)
def handmade(op: str) -> tuple[Specimen, ...]:
    """The specimens of one file, the right ones among them."""
    dotted = letters()[letters_of(op)]
    found = catalogs.Catalog()
    module = importlib.import_module(f"bugzoo.specimens.{dotted}")
    catalogs._scan(found, module, dotted.partition(".")[0], module.__name__)
    return tuple(found.specimens.values())


@lru_cache(maxsize=128)
def right(op: str) -> Specimen:
    """The right implementation of an operation."""
    return next(s for s in handmade(op) if s.twin == "correct")


@lru_cache(maxsize=128)
def mutants(op: str, healthy: bool = False) -> tuple[Specimen, ...]:
    """The frozen mutants of one file: the silently wrong ones, or those that nobody can tell apart."""
    from bugzoo.mutation import frozen

    base = right(op)
    found = catalogs.Catalog(specimens={base.id: base})
    listed = (m for m in frozen.load() if m.specimen == base.id)
    chosen = [
        m
        for m in listed
        if (m.kind == "equivalent" if healthy else m.silent and m.kind == "awake")
        and not frozen.retired(m, found)
    ]
    return tuple(frozen.specimen(m, found) for m in chosen)


def exhibit(broken: Specimen, base: Specimen) -> Exhibit:
    """The exhibit of a broken twin."""
    name = base.cls.__name__
    shown, correct = (text.bare(source.standalone(c, name)) for c in (broken.cls, base.cls))
    return Exhibit(f"{letters_of(base.file)}-{digest(broken)}", broken, base, shown, correct)


def digest(broken: Specimen) -> str:
    """Six digits of the hash of the wrong program."""
    return hashlib.sha256(text.bare(source.standalone(broken.cls)).encode()).hexdigest()[:6]


def exhibits(op: str, bred: bool = True) -> Iterator[Exhibit]:
    """All of an operation: those written by hand, then the mutants."""
    for s in handmade(op):
        if s.twin == "broken":
            base = next(b for b in handmade(op) if b.id == s.base)
            yield exhibit(s, base)
    if bred:
        for s in mutants(op):
            yield exhibit(s, right(op))


@lru_cache(maxsize=256)
def resolve(code: str) -> Exhibit:
    """The exhibit that a code names. UserError where this version holds none."""
    made = code.partition("-")[0]
    dotted = letters().get(made)
    if dotted is None:
        raise UserError(
            f"{code}: no operation has the letters {made}.{did_you_mean(made, letters())} "
            f"'bugzoo learn list' shows your exercises."
        )
    op = dotted.partition(".")[2]
    for found in exhibits(op):
        if found.code == code:
            return found
    raise UserError(
        f"{code} is not in this version of bugzoo: no wrong {op} has this hash. The code is mistyped, "
        f"or {op}.py has changed since. 'bugzoo learn start --op {op}' makes a new one."
    )


def of(exercise: Exercise) -> str:
    """The operation of an exercise."""
    dotted = letters().get(exercise.letters)
    if dotted is None:
        near = did_you_mean(exercise.letters, letters())
        raise UserError(
            f"{exercise.code}: no operation has the letters {exercise.letters}.{near} 'bugzoo learn list' "
            f"shows your exercises."
        )
    return dotted.partition(".")[2]


def draw(
    seed: int | str,
    *,
    op: str = "",
    family: str = "",
    fits: Callable[[Exhibit], bool] = lambda _: True,
    kind: str = "operation",
) -> Exhibit:
    """One exhibit drawn by the seed: the operation first, so that long ones are not drawn more often.

    The same seed and wishes give the same exhibit on any machine. UserError where none fits.
    """
    if family and family not in FAMILIES:
        raise UserError(
            f"--family {family}: unknown.{did_you_mean(family, FAMILIES)} Known: {', '.join(FAMILIES)}."
        )
    rng = random.Random(f"bugzoo:{op}:{family}:{kind}:{seed}")
    names = [op] if op else [o for o in sorted(ops()) if kind_of(o) == kind]
    rng.shuffle(names)
    for name in names:
        right(name)
        found = [e for e in exhibits(name) if not family or e.family == family]
        found.sort(key=lambda e: e.code)
        rng.shuffle(found)
        for one in found:
            if fits(one):
                return one
    raise UserError(
        "no exercise is like that: "
        + ", ".join(w for w in (op and f"op {op}", family and f"family {family}") if w)
        + ". Ask for less."
    )


def drawn(mode: str, seed: int, op: str) -> Exercise:
    """The detect or plant exercise of an operation."""
    return Exercise(mode, f"{letters_of(op)}-{'all' if mode == 'detect' else 'own'}-{seed}", seed)


def named(specimen_id: str) -> Exhibit:
    """The exhibit of a hand-made specimen, such as layer_norm/batch_mean."""
    op = re.split("/", specimen_id)[0]
    for s in handmade(op):
        if s.id == specimen_id:
            return exhibit(s, next(b for b in handmade(op) if b.id == s.base))
    raise UserError(f"there is no specimen {specimen_id}")
