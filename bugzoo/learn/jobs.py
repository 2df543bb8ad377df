"""The hidden cases of an exercise: what is measured, drawn anew from a seed.

Several shapes, layouts and edges: those of the operation's own file, layouts of the cotangent that
it leaves out, and any regime in which alone the exhibit's mistake shows.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from bugzoo.cases import consumed
from bugzoo.learn import naming
from bugzoo.learn.measure import Job, Measured, leaves, measure, measure_loop
from bugzoo.learn.pool import Exhibit
from bugzoo.model import Case, Context, Specimen
from bugzoo.oracle.probe import cotangent, spread

LAYOUTS = ("narrow", "expanded", "large")


def cases(right: Specimen, broken: Specimen | None = None) -> list[Any]:
    """Cases or contexts by name, without the plus sign of further regimes."""
    listed: list[Any] = list(right.truth.cases)
    if right.kind == "loop":
        return listed
    names = {c.name for c in listed}
    if broken is not None:
        listed += [c for c in broken.truth.cases if c.name not in names]
    used = {c.cotangent for c in listed}
    listed += [consumed(listed[0], layout) for layout in LAYOUTS if layout not in used]
    named: dict[str, Any] = {}
    for case in listed:
        name = case.name.lstrip("+")
        named.setdefault(name, replace(case, name=name))
    return list(named.values())


def seeded(code: str, case: str, seed: int) -> int:
    """A seed of the exercise's own, the same on every machine."""
    return random.Random(f"{code}:{case}:{seed}").getrandbits(40)


def job(right: Specimen, case: Case, seed: int) -> Job:
    """Inputs, cotangents and directions of one case."""
    gen = torch.Generator().manual_seed(seed)
    truth = right.truth
    inputs, others = case.draw(gen), case.draw(gen)
    ready: Job = {
        "names": naming.parameters(right.cls),
        "inputs": inputs,
        "others": others,
        "extras": case.extras,
        "elementwise": "any one shape" in (sys.modules[right.cls.__module__].__doc__ or ""),
        "deterministic": truth.deterministic,
        "twice": truth.twice and "largest" not in case.name,
    }
    kind: Any = right.cls
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        out = kind.apply(*inputs, *case.extras)
    listed = out if isinstance(out, tuple | list) else (out,)
    y = [b for b in listed if isinstance(b, torch.Tensor) and b.requires_grad]
    ready["g"] = tuple(cotangent(b, case.cotangent, gen) for b in y)
    ready["h"] = tuple(cotangent(b, case.cotangent, gen) for b in y)
    ready["v"] = tuple(spread(x.shape, gen, x.dtype) for x in leaves(inputs))
    return ready


class Bench:
    """The hidden cases of an exhibit with what the right program delivers in each, made once."""

    def __init__(self, right: Specimen, broken: Specimen | None, code: str, seed: int):
        self.right, self.broken, self.code, self.seed = right, broken, code, seed
        self.cases = cases(right, broken)
        self._truth: dict[str, tuple[Any, Measured]] = {}
        self._runs: dict[tuple[Any, str], Measured] = {}

    @classmethod
    def of(cls, exhibit: Exhibit, seed: int) -> "Bench":
        return cls(exhibit.right, exhibit.broken, exhibit.code, seed)

    @property
    def loop(self) -> bool:
        return self.right.kind == "loop"

    def truth(self, case: Case | Context) -> tuple[Any, Measured]:
        """The job of a case (for a context, its seed) and what the right program delivers."""
        if case.name not in self._truth:
            seed = seeded(self.code, case.name, self.seed)
            kind: Any = self.right.cls
            if isinstance(case, Context):
                held = measure_loop(kind, case.options, case.steps, seed)
                self._truth[case.name] = (seed, held)
            else:
                made = job(self.right, case, seed)
                self._truth[case.name] = (made, measure(kind.apply, made))
        return self._truth[case.name]

    def measured(self, kind: Any, case: Case | Context, file: str = "") -> Measured:
        """What the class `kind` delivers in a case."""
        made, _ = self.truth(case)
        if not isinstance(case, Context):
            return measure(kind.apply, made, file)
        if file:  # a learner's file, measured once
            return measure_loop(kind, case.options, case.steps, made, file)
        if (kind, case.name) not in self._runs:  # a run is dear, and several instruments read it
            found = measure_loop(kind, case.options, case.steps, made)
            self._runs[kind, case.name] = found
        return self._runs[kind, case.name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.cases)
