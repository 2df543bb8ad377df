"""A detector sees only its subject: nothing reachable from it tells which twin it is, or of what.

Everything is walked: attributes, closures, defaults, bound objects, classes, and the globals of
every function that an author wrote. Modules are not entered: an import is a detector's own doing.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from types import CellType, CodeType, FunctionType, MappingProxyType, ModuleType

import pytest
import torch

from bugzoo import catalog, source
from bugzoo.anonymous import anonymous
from bugzoo.model import Context, Label, Specimen, Truth
from bugzoo.subject import Subject, subject

ZOO = catalog.load()
BROKEN = [i for i in sorted(ZOO.specimens) if ZOO.specimens[i].twin == "broken"]
ALL = sorted(ZOO.specimens)
OPAQUE = (ModuleType, torch.Tensor, torch.Generator, bytes, int, float, complex, type(None))
PARTS = [
    "__closure__", "__defaults__", "__kwdefaults__", "__self__", "__func__", "__wrapped__",
    "__code__", "__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__mro__",
    "cell_contents", "co_consts", "co_names", "co_varnames", "co_freevars", "co_filename",
    "co_qualname", "func", "args", "keywords",
]  # fmt: skip


@dataclass
class Reached:
    """What a walk found: every string, and every object that is not a plain value."""

    strings: set[str] = field(default_factory=set)
    objects: list = field(default_factory=list)


def walk(start):
    """Everything reachable from `start`; the code of the subject itself is not entered."""
    found, seen, queue = Reached(), set(), [start]
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(thing, OPAQUE):
            continue
        seen.add(id(thing))
        found.objects.append(thing)  # kept alive, so that no id is used twice
        if isinstance(thing, str):
            found.strings.add(thing)
        elif isinstance(thing, dict | MappingProxyType):
            queue += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            queue += thing
        elif not own_code(thing):
            queue += parts(thing)
    return found


def own_code(thing):
    """The code under test, which may of course be read: a detector gets it as text as well."""
    code = getattr(thing, "__code__", thing)
    return isinstance(code, CodeType) and code.co_filename.startswith("<subject-")


def parts(thing):
    yield type(thing)
    for name in PARTS:
        try:
            yield getattr(thing, name)
        except (AttributeError, ValueError):
            continue
    ours = getattr(thing, "__module__", None) or ""
    if isinstance(thing, FunctionType) and ours == "subject":
        yield thing.__globals__
    # Of classes, only what the zoo itself defines is entered: neither torch nor the code under test.
    if not isinstance(thing, type) or ours.startswith("bugzoo"):
        yield getattr(thing, "__dict__", {})


@lru_cache(maxsize=4096)
def view(name, case):
    """All that a detector can get hold of: the subject, and the run that it starts; and its text."""
    s = ZOO.specimens[name]
    seen = subject(s, s.case(case))
    text, seen.source = seen.source, ""
    run = seen.start(torch.Generator().manual_seed(0)) if "training" in seen.offers else None
    return walk([seen, run]), text


def spoilers(name, reached, text=""):
    """Strings that name the file, a twin, or anything on the label; and objects that hold them."""
    s = ZOO.specimens[name]
    twins = [t for t in ZOO.specimens.values() if t.base == s.base]
    labels = [t.label for t in twins if t.label]
    sentences = [label.wrong for label in labels] + [a for label in labels for a in label.seen]
    sentences += [t.id for t in twins] + [s.path, s.cls.__module__]
    names = {t.cls.__name__ for t in twins if t.label}
    words = names | {label.family for label in labels}
    found = {t for t in reached.strings if t in words or any(x in t for x in sentences)}
    found |= {n for n in names if re.search(rf"\b{n}\b", text)} | {
        x for x in sentences if x in text
    }
    home = [o for o in reached.objects if getattr(o, "__module__", "") == s.cls.__module__]
    kinds = [o for o in reached.objects if isinstance(o, Label | Specimen | Truth)]
    return sorted(found), home + kinds


@pytest.mark.parametrize("name", ALL)
def test_no_spoiler_is_reachable(name):
    """No label, no specimen, no file, no name of a twin: in no view of any implementation."""
    for case in ZOO.specimens[name].cases:
        reached, text = view(name, case.name)

        assert spoilers(name, reached, text) == ([], []), case.name


@pytest.mark.parametrize("name", BROKEN)
def test_twins_lead_to_the_same_strings(name):
    """Apart from the code under test, both twins lead to the same strings, names and classes."""
    broken = ZOO.specimens[name]
    for case in broken.cases:
        ours, theirs = (view(twin, case.name)[0].strings for twin in (name, broken.base))

        assert ours ^ theirs == set()


@pytest.mark.parametrize("name", ALL)
def test_nameless_functions_do_the_same(name):
    """Inputs and references of a subject are, number for number, those that the author wrote."""
    s = ZOO.specimens[name]
    for case in s.cases:
        if isinstance(case, Context):
            continue
        seen = subject(s, case)
        ours, theirs = seen.inputs(gen()), case.draw(gen())
        assert same(ours, theirs)
        if s.truth.reference is not None:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                z = seen.reference(*ours)
                torch.manual_seed(0)
                assert same(z, s.truth.reference(*theirs, *case.extras))


def gen():
    return torch.Generator().manual_seed(3)


def same(ours, theirs):
    pairs = zip(as_tuple(ours), as_tuple(theirs), strict=True)
    return all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) and a.stride() == b.stride()
        if isinstance(a, torch.Tensor)
        else a == b
        for a, b in pairs
    )


def as_tuple(out):
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def test_a_spoiler_is_seen():
    """The walk finds the file of a specimen through a function that was not made nameless."""
    s = ZOO.specimens["layer_norm/batch_mean"]
    leaking = Subject(op=source.neutral(s.cls).apply, reference=s.truth.reference)
    strings, objects = spoilers(s.id, walk(leaking))

    assert s.path in strings
    assert s.truth.reference in objects


def test_a_spoiler_behind_a_closure_is_seen():
    """A draw of the shared makers leads to what it was given."""
    label = ZOO.specimens["layer_norm/batch_mean"].label

    def draw(gen):
        return label

    draw.__module__ = "somewhere"
    strings, objects = spoilers("layer_norm/batch_mean", walk(Subject(op=abs, draw=draw)))

    assert label.wrong in strings
    assert label in objects


TABLE = {"scale": 3.0}


def helper(x):
    return TABLE["scale"] * x if x < 10 else helper(x / 2)


def made(x, *, shift=1.0):
    return [helper(v) + shift for v in (x, 2 * x)]


def test_a_nameless_function_keeps_globals_defaults_and_recursion():
    """It has the globals that it uses and no others, and its helpers are nameless too."""
    copy = anonymous(made, __name__)

    assert copy(8.0) == made(8.0)
    assert set(copy.__globals__) == {"__name__", "__builtins__", "helper"}
    assert set(copy.__globals__["helper"].__globals__) == {
        "__name__", "__builtins__", "TABLE", "helper",
    }  # fmt: skip
    assert __name__ not in walk(copy).strings and __file__ not in walk(copy).strings


def test_cells_are_walked():
    """A closure's cell is entered."""
    assert "inside" in walk(CellType("inside")).strings
