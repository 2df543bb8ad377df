"""Which cells there are: what was asked for, the cells it comes to, and the content key of each."""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bugzoo
from bugzoo import peers
from bugzoo.catalog import Catalog
from bugzoo.errors import UserError, did_you_mean
from bugzoo.model import FAMILIES, Context, Specimen
from bugzoo.subject import subject
from bugzoo.trials.cell import Cell

ROOT = Path(__file__).parents[2]
ORACLE = "bugzoo/oracle/judge.py"
RUNNING = ["bugzoo/subject.py", "bugzoo/trials/limits.py"]  # what every trial goes through


@dataclass(frozen=True)
class Selection:
    """What a run is about; `asked` holds the filters as they were given."""

    detectors: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]  # specimen id, case name
    seeds: tuple[int, ...]
    asked: Mapping[str, list[str]]


def select(
    catalog: Catalog,
    *,
    detector: Iterable[str] = (),
    specimen: Iterable[str] = (),
    family: Iterable[str] = (),
    case: Iterable[str] = (),
    seed: Iterable[Any] = (0,),
) -> Selection:
    """Detectors, specimens and cases that the globs choose; no glob chooses all.

    A specimen's glob matches its id or its file: `relu` is all of relu.py. A bug brings its correct
    twin along, as false alarms are measured on it. A family is one of bugs: with it a correct twin
    comes only beside its bug, and a control only where `specimen` matches it. Raises UserError for
    a glob that matches nothing and for filters that leave nothing.
    """
    asked = {
        name: [str(glob) for glob in globs]
        for name, globs in (
            *(("detector", detector), ("specimen", specimen)),
            *(("family", family), ("case", case), ("seed", seed)),
        )
    }
    if not catalog.detectors:
        raise UserError("no detector was found; --detectors PATH says where some are.")
    _known("detector", asked["detector"], catalog.detectors, "'bugzoo list detectors' shows all.")
    names = [i for s in catalog.specimens.values() for i in (s.id, s.file)]
    _known("specimen", asked["specimen"], names, "'bugzoo list specimens --all' shows all.")
    _known("family", asked["family"], FAMILIES, "'bugzoo list families' shows all.")
    cases = {c.name for s in catalog.specimens.values() for c in s.cases}
    _known("case", asked["case"], cases, "'bugzoo show SPECIMEN' shows its cases.")

    chosen = {s.id for s in catalog.specimens.values() if _chosen(s, asked)}
    chosen |= {catalog.specimens[i].base for i in chosen}
    if not chosen:
        raise UserError(
            f"nothing to run: no bug of {_quoted('family', asked)} is among the specimens"
            f"{' that match ' + _quoted('specimen', asked) if asked['specimen'] else ''}."
        )
    pairs = [
        (s.id, c.name)
        for s in catalog.specimens.values()
        for c in s.cases
        if s.id in chosen and _matches(asked["case"], c.name)
    ]
    if not pairs:
        raise UserError(
            f"nothing to run: none of the {len(chosen)} specimens chosen has a case that matches "
            f"{_quoted('case', asked)}."
        )
    return Selection(
        tuple(d for d in catalog.detectors if _matches(asked["detector"], d)),
        tuple(pairs),
        _seeds(asked["seed"]),
        {name: globs for name, globs in asked.items() if globs and name != "seed"},
    )


def truths(catalog: Catalog, selection: Selection) -> list[Cell]:
    """One cell of the oracle for each specimen and case."""
    return [Cell("", i, _view(catalog, i, case), case, 0) for i, case in selection.pairs]


def trials(catalog: Catalog, selection: Selection) -> tuple[list[Cell], dict[Cell, str]]:
    """The cells of the detectors: those to run, and those that are not applicable, with the reason.

    The reason is '' where the subject lacks what is needed, else that a peer is not installed.
    """
    to_run: list[Cell] = []
    beside: dict[Cell, str] = {}
    known = {name: catalog.detectors[name] for name in selection.detectors}
    why_absent = {name: peers.absence(d.peer) for name, d in known.items() if d.peer}
    for i, case in selection.pairs:
        specimen, view = catalog.specimens[i], _view(catalog, i, case)
        try:
            offers = subject(specimen, specimen.case(case)).offers
        except Exception:
            offers = None  # let the worker find out, and say it in the trial
        for name in selection.detectors:
            cells = [Cell(name, i, view, case, seed) for seed in selection.seeds]
            if reason := why_absent.get(name):
                beside |= dict.fromkeys(cells, reason)
            elif offers is not None and set(known[name].needs) - offers:
                beside |= dict.fromkeys(cells, "")
            else:
                to_run += cells
    return to_run, beside


def absent(catalog: Catalog, selection: Selection) -> list[str]:
    """Peers that the chosen detectors drive and that are not installed."""
    driven = [catalog.detectors[name].peer for name in selection.detectors]
    return sorted({peer.name for peer in driven if peer and not peers.installed(peer)})


class Keys:
    """The content key of a cell: everything that can change its answer, as a sha256.

    That is the cell, the time-out, the versions, and the files of the specimen and of the detector
    with all files of ours that they import, and the packages of its peer, or that they are absent.
    What a third party's file imports is not followed.
    """

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        self._versions = [bugzoo.__version__, version("torch"), version("numpy")]
        self._digest = cache(_digest)
        self._packages = {
            name: [peers.absence(d.peer), *d.peer.packages] if d.peer else []
            for name, d in catalog.detectors.items()
        }

    def __call__(self, cell: Cell, timeout: float) -> str:
        files = [self._catalog.specimens[cell.specimen].path, *(str(ROOT / f) for f in RUNNING)]
        if cell.detector:
            files.append(self._catalog.detectors[cell.detector].path)
        else:
            files.append(str(ROOT / ORACLE))
        digests = [self._digest(file) for file in files]
        told = [cell, digests, timeout, self._versions]
        if packages := self._packages.get(cell.detector):
            told.append(packages)
        text = json.dumps(told)
        return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: str) -> str:
    """sha256 over the file and every file of ours that it imports, directly or not."""
    files, queue = set(), [Path(path)]
    while queue:
        file = queue.pop()
        if file not in files:
            files.add(file)
            queue += _imported(_bytes(file))
    each = sorted(hashlib.sha256(_bytes(file)).hexdigest() for file in files)
    return hashlib.sha256("".join(each).encode()).hexdigest()


@cache
def _imported(text: bytes) -> list[Path]:
    """Files of bugzoo and detectors that a program imports, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "bugzoo":
            names += [f"bugzoo.{bugzoo._HOME.get(a.name, a.name)}" for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{a.name}" for a in node.names] + [f"{node.module}"]
    ours = (n for n in names if n.partition(".")[0] in ("bugzoo", "detectors"))
    paths = (ROOT / f"{name.replace('.', '/')}.py" for name in ours)
    return [p for p in paths if p.exists()]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return str(file).encode("utf-8", "replace")


def _view(catalog: Catalog, specimen: str, case: str) -> str:
    training = isinstance(catalog.specimens[specimen].case(case), Context)
    return "training" if training else "operation"


def _chosen(specimen: Specimen, asked: Mapping[str, list[str]]) -> bool:
    if not any(_matches(asked["specimen"], name) for name in (specimen.id, specimen.file)):
        return False
    if not asked["family"]:
        return True
    if specimen.label is None:
        return specimen.twin in ("control", "sick") and bool(asked["specimen"])
    return _matches(asked["family"], specimen.label.family)


def _matches(globs: list[str], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _known(what: str, globs: list[str], known: Iterable[str], remedy: str) -> None:
    known = list(dict.fromkeys(known))
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in known):
            raise UserError(f"unknown {what} '{glob}'.{did_you_mean(glob, known)} {remedy}")


def _quoted(name: str, asked: Mapping[str, list[str]]) -> str:
    return " or ".join(f"--{name} '{glob}'" for glob in asked[name])


def _seeds(given: list[str]) -> tuple[int, ...]:
    for seed in given:
        if not (seed.isascii() and seed.isdecimal() and len(seed) < 10):
            raise UserError(f"--seed {seed}: expected a whole number from 0 to 999999999.")
    return tuple(dict.fromkeys(int(seed) for seed in given))
