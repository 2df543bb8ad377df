"""Folder scan: collects what the decorators marked. There is no list kept by hand anywhere.

A file that cannot be used becomes a Problem and the scan goes on; the caller decides whether a
problem ends the command.
"""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from bugzoo.errors import SpecimenError, UserError
from bugzoo.model import MARK, TRAINED, Detector, Label, Peer, Specimen, Truth


@dataclass(frozen=True)
class Problem:
    """A file or an entry that was left out, and why, with the remedy."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass
class Catalog:
    """Everything that was found: specimens, detectors and peers by id, problems in the order met."""

    specimens: dict[str, Specimen] = field(default_factory=dict)
    detectors: dict[str, Detector] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def load(specimens: Iterable[str | Path] = (), detectors: Iterable[str | Path] = ()) -> Catalog:
    """The built-in zoo, then the files and folders given, then installed entry points."""
    found = Catalog()
    home = Path(__file__).parent / "specimens"
    for path in _files(home):
        dotted = _dotted("bugzoo.specimens", home, path)
        _scan(found, _module(found, str(path), dotted), path.parent.name, dotted)
    home = _package_folder("detectors")
    for path in _files(home):
        _scan(found, _module(found, str(path), _dotted("detectors", home, path)), "detectors")
    for kind, given in (("specimens", specimens), ("detectors", detectors)):
        for root in map(Path, given):
            if not root.exists():
                raise UserError(f"--{kind} {root}: no such file or folder")
            files = _files(root)
            if not files:
                raise UserError(f"--{kind} {root}: holds no Python file")
            for path in files:
                _scan(found, _module(found, str(path)), kind if root == path else root.name)
    for kind in ("specimens", "detectors"):
        for point in entry_points(group=f"bugzoo.{kind}"):
            try:
                _scan(found, point.load(), point.name)
            except Exception as error:
                found.problems.append(Problem(f"entry point {point.name}", _words(error)))
    return found


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(p for p in root.rglob("*.py") if not p.name.startswith("_"))


def _dotted(package: str, home: Path, path: Path) -> str:
    return ".".join([package, *path.relative_to(home).with_suffix("").parts])


def _package_folder(name: str) -> Path:
    """The folder of our own top-level package, beside bugzoo, whatever else has that name."""
    return Path(__file__).parent.parent / name


def _module(found: Catalog, path: str, dotted: str = "") -> ModuleType | None:
    try:
        if dotted:
            return importlib.import_module(dotted)
        name = f"bugzoo_given_{hashlib.sha256(path.encode('utf-8', 'replace')).hexdigest()[:12]}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    except SyntaxError as error:
        found.problems.append(Problem(path, f"line {error.lineno}: syntax error: {error.msg}"))
    except UserError as error:
        found.problems.append(Problem(path, str(error)))
    except Exception as error:
        found.problems.append(Problem(path, f"cannot be imported: {_words(error)}"))
    return None


def _scan(found: Catalog, module: ModuleType | None, group: str, dotted: str = "") -> None:
    if module is None:
        return
    path = module.__file__ or module.__name__
    stem = Path(path).stem
    marked = [
        (thing, vars(thing)[MARK])
        for thing in vars(module).values()
        if getattr(thing, "__module__", None) == module.__name__ and MARK in _own(thing)
    ]
    peers = [thing for thing in vars(module).values() if isinstance(thing, Peer)]
    if not marked and not peers and dotted == "":
        found.problems.append(
            Problem(path, "holds nothing marked @bug, @control, @correct or @detector")
        )
    for thing, mark in marked:
        try:
            if isinstance(mark, Detector):
                _add(found.detectors, mark.name, replace(mark, path=path))
            else:
                made = _specimen(thing, mark, stem, path, group)
                _add(found.specimens, made.id, made)
        except UserError as error:
            found.problems.append(Problem(path, str(error)))
    for peer in peers:
        if found.peers.setdefault(peer.name, peer) != peer:
            found.problems.append(Problem(path, f"the peer '{peer.name}' is defined twice"))


def _specimen(cls: Any, mark: Any, stem: str, path: str, group: str) -> Specimen:
    from bugzoo.loop import Loop

    name = f"{stem}/{_snake(cls.__name__)}"
    twin: Literal["broken", "correct", "control", "sick"]
    if isinstance(mark, Truth):
        twin = "sick" if mark.sick else "control" if mark.looks else "correct"
        truth, label, base = mark, None, cls
    else:
        bases = [c for c in cls.__mro__[1:] if isinstance(_own(c).get(MARK), Truth)]
        if not bases:
            raise SpecimenError(
                f"{name}: a @bug must inherit from a class of its file marked @correct"
            )
        base = bases[0]
        if getattr(sys.modules[base.__module__], base.__name__, None) is not base:
            raise SpecimenError(f"{name}: '{base.__name__}' is defined twice in this file")
        twin, truth, label = "broken", vars(base)[MARK], mark
    if not truth.cases:
        raise SpecimenError(f"{name}: 'cases' is empty; expected at least one case")
    names = [c.name for c in truth.cases] + ([TRAINED.name] if truth.seat else [])
    for twice in {n for n in names if names.count(n) > 1}:
        raise SpecimenError(f"{name}: two cases are called '{twice}'")
    if isinstance(label, Label):
        for claim in ("shown_by", "hidden_by"):
            for case in getattr(label, claim):
                if case not in names:
                    raise SpecimenError(
                        f"{name}: {claim} names the case '{case}', which does not exist; "
                        f"cases of this file: {', '.join(names)}"
                    )
        both = set(label.shown_by) & set(label.hidden_by)
        if both:
            raise SpecimenError(f"{name}: '{both.pop()}' is in shown_by and in hidden_by")
    kind: Literal["operation", "loop"] = "loop" if issubclass(cls, Loop) else "operation"
    if truth.reference is None and (truth.seat or kind == "loop"):
        raise SpecimenError(
            f"{name}: 'reference' is missing; a training run is held against the reference's run"
        )
    if kind == "operation" and not callable(getattr(cls, "apply", None)):
        raise SpecimenError(
            f"{name}: expected a torch.autograd.Function, bugzoo.Composite, bugzoo.Engine or "
            f"bugzoo.Loop"
        )
    return Specimen(
        id=name,
        kind=kind,
        twin=twin,
        cls=cls,
        truth=truth,
        path=path,
        group=group,
        label=label,
        base=f"{stem}/{_snake(base.__name__)}",
    )


def _add(into: dict[str, Any], name: str, thing: Any) -> None:
    if name in into:
        raise UserError(f"'{name}' is defined twice, first in {into[name].path}")
    into[name] = thing


def _own(thing: Any) -> dict[str, Any]:
    """The thing's own attributes, not inherited ones."""
    return getattr(thing, "__dict__", {})


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
