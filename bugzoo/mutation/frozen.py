"""The frozen sets of mutants: what was bred once, never renumbered, and re-proved by `bugzoo verify`.

A set is a file of JSON lines, gzipped: a header, then one Frozen a line. Where the correct
implementation has changed since, or is gone, its mutants are retired: kept in the file, used no more.
"""

import gzip
import hashlib
import json
import math
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import bugzoo
from bugzoo import source
from bugzoo.catalog import Catalog
from bugzoo.errors import UserError
from bugzoo.model import Label, Specimen, Truth
from bugzoo.mutation.bench import Bench
from bugzoo.mutation.breed import PAIR, Mutant, mutants, pairs
from bugzoo.mutation.classify import Class, classify
from bugzoo.mutation.operator import collected
from bugzoo.mutation.regimes import regimes
from bugzoo.oracle.claims import words
from bugzoo.oracle.judge import judge

SET = "mutants-v1"
GROUP = "mutants"
SETS = Path(__file__).parent / "sets"
SILENT, HEALTHY = ("awake", "raises_sometimes"), ("equivalent", "masked_by_engine")
MOST = 0.15  # of the awake ones may be of one operator

FAMILY = {  # theme of an operator -> family of a bug
    "accumulation": "accumulation-zeroing",
    "clipping": "hooks-clip-optimizer",
    "factors": "scaling",
    "graph": "graph-cut",
    "guards": "masking-boundary",
    "indices": "missing-reduction",
    "inplace": "saved-tensor-mutation",
    "layout": "layout-stride",
    "losses": "scaling",
    "magnitude": "scaling",
    "masks": "masking-boundary",
    "modules": "wrong-math",
    "names": "wrong-math",
    "ordering": "hooks-clip-optimizer",
    "precision": "dtype-precision",
    "reductions": "missing-reduction",
    "results": "api-contract",
    "saving": "saved-tensor-mutation",
    "second_order": "higher-order",
    "terms": "wrong-math",
    "transposes": "wrong-math",
    "zeroing": "accumulation-zeroing",
}

RETIRED = {  # id -> why a mutant of the set is used no more
    "8f38ee604d9b": "its cache is stale only where another case has filled it before",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Frozen:
    """One mutant as it was classified when the set was made.

    specimen, reference  id of the correct implementation, and the hash of its standalone text
    line, before, after  where the two texts differ; `line` counts in the correct one
    cases                case -> channels that see it there; a plus sign: a regime beyond the cases
    witness              {case, channel, probe, words, error}; error None: no finite number
    expected             the channel in which the author of the (first) operator expected it
    """

    id: str
    specimen: str
    reference: str
    operator: str
    line: int
    before: str
    after: str
    kind: str
    channels: tuple[str, ...]
    cases: dict[str, tuple[str, ...]]
    witness: dict[str, Any]
    expected: str
    text: str

    @property
    def silent(self) -> bool:
        """Is there a case in which it does not raise and is wrong?"""
        return self.kind in SILENT and bool(self.cases)

    @property
    def name(self) -> str:
        """Its id as a specimen."""
        return f"{self.specimen.partition('/')[0]}/m_{self.id}"

    def matches(self, globs: tuple[str, ...]) -> bool:
        """Does its id as a specimen, or its file, match one of the globs? No glob: yes."""
        names = (self.name, self.name.partition("/")[0])
        return not globs or any(fnmatchcase(name, glob) for name in names for glob in globs)

    @property
    def words(self) -> str:
        """What the operator did and where."""
        was, became = (
            " / ".join(f"`{line}`" for line in text.splitlines()) or "nothing"
            for text in (self.before, self.after)
        )
        return f"{self.operator}, line {self.line}: {was} -> {became}"


def bred(specimen: Specimen, second: int | None = None, seed: int = 0) -> list[Frozen]:
    """Every first-order mutant of a correct implementation, classified. In the main thread only.

    With `second`, so many mutants of two operators each instead, drawn with `seed`.
    """
    bench = Bench(specimen)
    found = mutants(bench.text) if second is None else pairs(bench.text, count=second, seed=seed)
    return [_frozen(specimen, bench.text, m, classify(m, bench)) for m in found]


def write(path: str | Path, found: Iterable[Frozen]) -> None:
    """The set as a file: the same mutants give the same bytes."""
    listed = sorted(found, key=lambda f: (f.specimen, f.operator, f.line, f.id))
    head = {
        "set": SET,
        "bugzoo": bugzoo.__version__,
        "torch": version("torch"),
        "operators": len(collected()),
        "versions": {name: o.version for name, o in collected().items()},
    }
    lines = [json.dumps(row, ensure_ascii=False) for row in (head, *map(asdict, listed))]
    text = "".join(f"{line}\n" for line in lines)
    try:
        Path(path).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    except OSError as error:
        raise UserError(f"{path}: the set cannot be written: {error.strerror}") from None


@lru_cache(maxsize=2)
def load(name: str = SET) -> tuple[Frozen, ...]:
    """The mutants of a set of ours, by name, or of a file. UserError where it cannot be read."""
    path = Path(name) if name.endswith(".gz") else SETS / f"{name}.jsonl.gz"
    try:
        head, *rows = map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
        assert "set" in head
        return tuple(_read(row) for row in rows)
    except (gzip.BadGzipFile, AssertionError, EOFError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a set of mutants ({type(error).__name__}: {error}); expected gzipped JSON "
            f"lines, as 'bugzoo breed --out {path}' writes them."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: no set of mutants: {error}. 'bugzoo breed' makes one.") from None


def retired(mutant: Frozen, catalog: Catalog) -> str:
    """Why the mutant is used no more; '' while it is in use."""
    if mutant.id in RETIRED:
        return RETIRED[mutant.id]
    base = catalog.specimens.get(mutant.specimen)
    if base is None:
        return f"{mutant.specimen} is no longer in the catalog"
    if _digest(source.standalone(base.cls)) != mutant.reference:
        return f"{mutant.specimen} has changed since"
    return ""


def lies(mutant: Frozen, catalog: Catalog) -> Iterator[str]:
    """What the set says of the mutant and the oracle does not bear out, a line a case.

    A contract broken by an exception ends the oracle's questions: no other channel is held to it.
    """
    judged = specimen(mutant, catalog)
    cases = {case.name: case for case in judged.cases}
    for name, channels in mutant.cases.items():
        if name not in cases:
            yield f"{mutant.name}: the set says that it is awake in {name}, and there is no such case"
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            finding = judge(judged, cases[name], channels=channels)  # others may take for ever
        asked = {w.channel for w in finding.witnesses} & set(channels)
        if not asked or not asked <= set(finding.awake):
            said = ", ".join(channels)
            yield f"{mutant.name} in {name}: the set says {said}; the oracle {words(finding)}"


def specimens(
    catalog: Catalog,
    sample: int | None = None,
    seed: int = 0,
    *,
    healthy: bool = False,
    globs: Iterable[str] = (),
    name: str = SET,
) -> list[Specimen]:
    """The silently wrong mutants as broken twins; with `healthy` the harmless ones, as controls.

    `globs` keep those whose id or file matches one of them.
    """
    kinds = HEALTHY if healthy else SILENT
    listed = [m for m in load(name) if m.kind in kinds and (healthy or m.silent)]
    used = [m for m in listed if not retired(m, catalog) and m.matches(tuple(globs))]
    return [specimen(m, catalog) for m in (used if sample is None else drawn(used, sample, seed))]


def add(catalog: Catalog, names: Iterable[str]) -> None:
    """Put the mutants of these names into the catalog."""
    wanted = set(names)
    if wanted:
        found = [specimen(m, catalog) for m in load() if m.name in wanted]
        catalog.specimens.update({s.id: s for s in found})


def drawn(listed: Iterable[Frozen], count: int, seed: int) -> list[Frozen]:
    """`count` of them, spread evenly over operators, then over specimens; the same for one seed."""
    mixed = sorted(listed, key=lambda m: (m.specimen, m.id))
    random.Random(seed).shuffle(mixed)
    spread = _in_turn(mixed, lambda m: (m.operator, m.specimen))
    return _in_turn(spread, lambda m: m.operator)[:count]


def specimen(mutant: Frozen, catalog: Catalog) -> Specimen:
    """The mutant as a specimen. Its label claims the channel that sees it in the most cases.

    Where two do, it is that of the witness.
    """
    base = catalog.specimens[mutant.specimen]
    truth, label = _tried(base.truth, mutant), None
    if mutant.silent:
        seen = Counter(channel for channels in mutant.cases.values() for channel in channels)
        channel = max(seen, key=lambda c: (seen[c], c == mutant.witness["channel"]))
        shown = tuple(case for case, channels in mutant.cases.items() if channel in channels)
        label = Label(mutant.words, _family(mutant.operator, channel), channel, shown)
    else:
        truth = replace(truth, looks=mutant.words, right=mutant.kind.replace("_", " "))
    return Specimen(
        id=mutant.name,
        kind=base.kind,
        twin="broken" if mutant.silent else "control",
        cls=source.written(mutant.text, base.cls),
        truth=truth,
        path=base.path,
        group=GROUP,
        label=label,
        base=base.id,
        operator=mutant.operator,
    )


def _tried(truth: Truth, mutant: Frozen) -> Truth:
    """The truth of the correct one, with the regimes in which alone the mutant shows."""
    extra = [name for name in mutant.cases if name.startswith("+")]
    listed: Any = truth.cases
    added = [case for case in regimes(listed[0]) if case.name in extra] if extra else []
    return replace(truth, cases=(*listed, *added))


def _family(operator: str, channel: str) -> str:
    if channel == "memory":
        return "memory-retention"
    known = collected().get(operator.partition(PAIR)[0])
    return FAMILY[known.theme] if known else "wrong-math"


def _frozen(base: Specimen, reference: str, mutant: Mutant, found: Class) -> Frozen:
    witness: dict[str, Any] = {}
    if found.witnesses:
        case, seen = found.witnesses[0]
        error = seen.error if math.isfinite(seen.error) else None
        witness = {"case": case, "channel": seen.channel, "probe": seen.probe}
        witness |= {"words": seen.words, "error": error}
    return Frozen(
        id=mutant.id,
        specimen=base.id,
        reference=_digest(reference),
        operator=mutant.operator,
        line=mutant.line,
        before=mutant.before,
        after=mutant.after,
        kind=found.kind,
        channels=tuple(dict.fromkeys(c for seen in found.awake.values() for c in seen)),
        cases=found.awake,
        witness=witness or {"words": found.words},
        expected=collected()[mutant.operator.partition(PAIR)[0]].channel,
        text=mutant.text,
    )


def _read(row: dict[str, Any]) -> Frozen:
    row["channels"] = tuple(row["channels"])
    row["cases"] = {case: tuple(channels) for case, channels in row["cases"].items()}
    return Frozen(**{field.name: row[field.name] for field in fields(Frozen)})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _in_turn(listed: list[T], key: Callable[[T], Any]) -> list[T]:
    """All first ones of each key, then all second ones, and so on."""

    def ranked() -> Iterator[tuple[int, T]]:
        seen: Counter[Any] = Counter()
        for item in listed:
            yield seen[key(item)], item
            seen[key(item)] += 1

    return [item for _, item in sorted(ranked(), key=lambda pair: pair[0])]
