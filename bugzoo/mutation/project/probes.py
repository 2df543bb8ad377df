"""The calls and cotangents on which a mutant is held against the original, and what comes of it.

    |mutant - original| <= rtol * max(|mutant|, |original|)        per tensor, maxima over its elements

The original is its own reference: nobody says that it is right, only that a mutant differs from it.
"""

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bugzoo.mismatch import compare
from bugzoo.mutation.project.call import Call, Observed, observe

LAYOUTS = ("dense", "negated", "expanded", "transposed", "narrow", "zero")
SECONDS = 0.3  # that all probes of one mutant may take, as the original needs
FEWEST = 8
CLEAR = 0.1  # an error that is easily seen
ALONE = "a gradient asked for "
RAISES = "it raises "
FLOOR = 1e-12  # of what is largest: below, all is rounding
RTOL, RTOL_SINGLE = 1e-9, 1e-4


@dataclass(frozen=True, eq=False)
class Probe:
    """A call under a cotangent. `about`: how the values came about."""

    call: Call
    about: str
    layout: str
    seed: int
    true: Observed
    rtol: float

    @property
    def plain(self) -> bool:
        """Is it a use like the user's own: one backward pass, a gradient for all that want one?"""
        return self.layout != "second" and not self.about.startswith(ALONE)


def prepared(calls: list[Call], origin: str) -> list[Probe]:
    """The probes that the original passes and answers twice alike, until the time is used up."""
    made: list[Probe] = []
    started = time.monotonic()
    for call, about, layout, seed in _planned(calls, origin):
        probe = _probe(call, about, layout, seed)
        if probe is not None:
            made.append(probe)
        if len(made) >= FEWEST and time.monotonic() - started > 2 * SECONDS:
            break
    return made


def _planned(calls: list[Call], origin: str) -> Iterator[tuple[Call, str, str, int]]:
    """The most telling first: every call once, then layouts, fresh values, subsets, second order."""
    bases = [_base(call) for call in calls]
    for n, call in enumerate(bases):
        yield call, origin, "dense", n
    for layout in LAYOUTS[1:]:
        for n, call in enumerate(bases):
            yield call, origin, layout, 10 + n
    for n, call in enumerate(bases):
        yield call, origin, "second", 20 + n
    for k, scale in enumerate((1.0, 3.0, 0.1)):
        for n, call in enumerate(bases):
            gen = torch.Generator().manual_seed(1000 * k + n)
            yield call.varied(gen, scale), "fresh values", LAYOUTS[(k + n) % 2], 30 + n
    for n, call in enumerate(bases):
        leaves = call.leaves()
        for k in range(len(leaves) if 1 < len(leaves) <= 8 else 0):
            yield call.only(k), f"{ALONE}{leaves[k][0]} alone", "dense", 40 + n


def _base(call: Call) -> Call:
    """In float64 where the original can."""
    try:
        double = call.double().asking()
        observe(double, "dense", 0)
        return double
    except Exception:
        return call.copied().asking()


def _probe(call: Call, about: str, layout: str, seed: int) -> Probe | None:
    for how in (layout, "") if layout == "dense" else (layout,):  # '' where there is no graph
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                true, again = observe(call, how, seed), observe(call, how, seed)
        except Exception:
            continue
        if how and how != "second" and "g0" not in true:
            continue
        finite = all(bool(x.isfinite().all()) for x in true.values() if x is not None)
        floating = [x.dtype for x in true.values() if x is not None and x.is_floating_point()]
        rtol = RTOL if set(floating) <= {torch.float64} else RTOL_SINGLE
        if true and finite and _differs(again, true, rtol)[0] == 0.0:
            return Probe(call, about, how, seed, true, rtol)
    return None


@dataclass
class Judgement:
    """How a mutant differs from the original.

    `error` is the median over the probes on which it is wrong; `probe` the one that is shown, `name`
    the tensor that is furthest off there.
    """

    kind: str  # awake, second, equivalent, stillborn
    probes: int
    wrong: int = 0
    raised: int = 0
    error: float = 0.0
    words: str = ""
    probe: int = -1
    name: str = ""


def judge(probes: list[Probe], quick: bool = False) -> Judgement:
    """Hold what is live now against what the original said.

    `quick` asks only whether the mutant counts: of the plain probes, up to the first that it does
    not raise on and is wrong.
    """
    seen: list[tuple[int, float, str, str]] = []
    for n, probe in enumerate(probes):
        if quick and not probe.plain:
            continue
        seen.append((n, *examined(probe)))
        if quick and seen[-1][1] > 0 and not seen[-1][3].startswith(RAISES):
            break
    second = [s for s in seen if probes[s[0]].layout == "second" and s[1] > 0]
    off = [s for s in seen if s[1] > 0 and s not in second]
    raised = [s for s in off if s[3].startswith(RAISES)]
    wrong = [s for s in off if s not in raised]
    shown = wrong or raised or second
    found = Judgement("equivalent", len(probes), len(wrong), len(raised))
    if raised and sum(probes[s[0]].plain for s in raised) == sum(p.plain for p in probes):
        found.kind, found.words = "stillborn", raised[0][3]
    elif shown:
        found.kind = "awake" if off else "second"
        found.error = sorted(s[1] for s in shown)[len(shown) // 2]
        clear = min(CLEAR, max(s[1] for s in shown))
        found.probe, _, found.name, found.words = next(s for s in shown if s[1] >= clear)
    return found


def examined(probe: Probe) -> tuple[float, str, str]:
    """Error, the tensor's name and the words of one probe; an error of 0.0 where all is equal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = observe(probe.call, probe.layout, probe.seed)
    except Exception as error:
        said = str(error).strip().splitlines()
        return float("inf"), "", f"{RAISES}{type(error).__name__}: {said[0] if said else ''}"
    return _differs(got, probe.true, probe.rtol)


def _differs(got: Observed, true: Observed, rtol: float) -> tuple[float, str, str]:
    floor = FLOOR * max((_size(x) for x in true.values()), default=0.0)
    worst: tuple[float, str, str] = (0.0, "", "")
    for name, right in true.items():
        ours = got.get(name)
        if right is None:
            continue
        found = compare(ours, right, name)
        gap = found.error * max(_size(ours), _size(right))
        if found.error > max(rtol, worst[0]) and not gap <= floor:
            worst = (found.error, name, found.words)
    return worst[0], worst[1], _in_place(worst[1], true) + worst[2]


def _in_place(name: str, true: Observed) -> str:
    """What only a write in place can change is told so."""
    if name[:1] == "g" and name[1:].isdigit():
        return "it writes into the cotangent: "
    return f"it writes into {name}: " if name and f"d{name}" in true else ""


def _size(t: Tensor | None) -> float:
    if t is None or not t.numel():
        return 0.0
    return float(t.detach().abs().nan_to_num().max())


def described(probe: Probe) -> dict[str, Any]:
    """How the probe looks, for the witness."""
    shapes = [
        f"{name} {'x'.join(map(str, x.shape)) or 'scalar'}" for name, x in probe.call.tensors()
    ]
    return {"shapes": shapes, "layout": probe.layout, "about": probe.about}
