"""What is wrong with what was measured, in words and numbers: the contract of EXERCISES 4.5.

How many cases fail and which were right before; structure before values; the first and the worst
wrong element with their ratio; the shape of the error; a conserved quantity; what is right only
because every answer is 0; the limit.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bugzoo.learn import naming, shape
from bugzoo.learn.jobs import Bench
from bugzoo.learn.measure import Measured, leaves
from bugzoo.model import Context

FLOOR = 1e-12  # of the cotangent: a smaller gap is rounding


@dataclass(frozen=True)
class Outcome:
    """One case: `error` relative to the largest element, inf for a broken structure. `words`: details."""

    name: str
    size: str
    error: float
    limit: float
    words: tuple[str, ...] = ()
    note: str = ""
    line: int = 0
    raised: bool = False

    @property
    def ok(self) -> bool:
        return not self.words


@dataclass
class Report:
    """All cases of a check. `before`: names of the cases that the exhibit as given had right."""

    outcomes: list[Outcome]
    before: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)
    ops: tuple[int, int] = (0, 0)  # of the learner's backward, of the right one
    fresh: int = 0  # how many of the outcomes were drawn for this check alone
    timed_out: bool = False

    @property
    def failed(self) -> list[Outcome]:
        return [o for o in self.outcomes if not o.ok]

    @property
    def solved(self) -> bool:
        return not self.failed and not self.remarks and bool(self.outcomes)

    @property
    def regressions(self) -> list[str]:
        return [o.name for o in self.failed if o.name in self.before]

    @property
    def crashed(self) -> bool:
        return self.timed_out or (bool(self.outcomes) and all(o.raised for o in self.outcomes))

    def worst(self) -> Outcome | None:
        """The failing case to be shown in full: a plain one where there is one."""
        raised = [o for o in self.failed if o.raised]
        return (raised or self.failed or [None])[0]  # type: ignore[list-item]

    def to_dict(self) -> dict[str, Any]:
        return {
            "solved": self.solved,
            "cases": [
                {
                    "name": o.name,
                    "size": o.size,
                    "ok": o.ok,
                    "error": o.error if math.isfinite(o.error) else None,
                    "limit": o.limit,
                    "words": list(o.words),
                    "note": o.note,
                    "line": o.line or None,
                }
                for o in self.outcomes
            ],
            "regressions": self.regressions,
            "remarks": self.remarks,
            "ops": list(self.ops),
        }


def examine(bench: Bench, got: dict[str, Measured]) -> list[Outcome]:
    """An outcome for each case of the bench from what was measured in it."""
    found = []
    for case in bench:
        made, true = bench.truth(case)
        mine = got[case.name]
        if isinstance(case, Context):
            found.append(_loop(case, true, mine))
        else:
            found.append(_operation(case, made, true, mine))
    return found


def _operation(case: Any, job: Any, true: Measured, mine: Measured) -> Outcome:
    wrt = leaves(job["inputs"])
    size = ", ".join(_size(x) for x in wrt[:3]) or "-"
    limit = case.rtol

    def out(error: float, *words: str, note: str = "", raised: bool = False) -> Outcome:
        return Outcome(case.name, size, error, limit, words, note, mine["line"], raised)

    if mine["error"]:
        at = f" (line {mine['line']})" if mine["line"] else ""
        return out(math.inf, f"it raises{at}:", f"  {mine['error']}", raised=True)
    names = naming.gradients(job)
    for ours, theirs in zip(mine["y"], true["y"]):
        error = _error(ours, theirs)
        if error > limit:
            return out(error, "the forward gives another output", *_elements("y", ours, theirs))
    if len(mine["y"]) != len(true["y"]):
        return out(math.inf, f"{len(mine['y'])} outputs carry a gradient, {len(true['y'])} should")
    floor = FLOOR * max((_largest(b) for b in job["g"]), default=0.0)
    worst = 0.0
    for n, (name, x, ours, theirs) in enumerate(zip(names, wrt, mine["dx"], true["dx"])):
        expected = torch.zeros_like(x) if theirs is None else theirs
        if ours is None and _largest(expected) > floor:
            return out(math.inf, f"{name} is None, a gradient of {_size(expected)} was expected")
        ours = torch.zeros_like(expected) if ours is None else ours
        if ours.shape != expected.shape:
            return out(math.inf, f"{name} has shape {_size(ours)}, expected {_size(expected)}")
        if ours.dtype != expected.dtype:
            return out(math.inf, f"{name} is {_dtype(ours)}, its input {_dtype(expected)}")
        error = _error(ours, expected)
        if error * max(_largest(ours), _largest(expected)) <= floor:
            error = 0.0
        worst = max(worst, error)
        if error > limit:
            return out(error, *_value(name, n, ours, expected, job, true, case))
    if mine["changed"]:
        name, count, total = mine["changed"][0]
        known = [c[0] for c in true["changed"]]
        if name not in known:
            return out(
                math.inf,
                f"the pass writes into {naming.place(name, job)}: {count} of {total} elements changed",
                "  it was only lent; another consumer of the same tensor gets a wrong gradient",
            )
    if mine["again"] and not true["again"]:
        return out(math.inf, mine["again"])
    for name, ours, theirs in zip(names, mine["alone"], true["alone"]):
        if theirs is not None and (ours is None or _error(ours, theirs) > limit):
            said = f"when only {name[1:]} requires a gradient, {name} is another or missing"
            return out(math.inf, said)
    if true["zero"] and not mine["zero"]:
        return out(math.inf, "a zero cotangent gives a gradient that is not finite")
    if job["twice"] and "second" in true and "second" in mine:
        by = [*naming.inputs(job), *naming.cotangents(job)]
        for name, theirs, ours in zip(by, true["second"], mine["second"]):
            if theirs is None:
                continue
            ours = torch.zeros_like(theirs) if ours is None else ours
            if _error(ours, theirs) > 10 * limit and _largest(theirs - ours) > floor:
                said = f"right, but its own derivative by {name} is wrong (second order)"
                return out(
                    _error(ours, theirs),
                    f"the gradient is {said}",
                    *_elements(f"d2{name}", ours, theirs),
                )
    zero = all(t is None or _largest(t) <= floor for t in true["dx"])
    return out(worst, note="every answer is 0 here" if zero and true["dx"] else "")


def _value(
    name: str, n: int, ours: Tensor, true: Tensor, job: Any, right: Measured, case: Any
) -> list[str]:
    """First and worst element, the shape of the error, a conserved quantity."""
    lines = _elements(name, ours, true)
    if not bool(ours.isfinite().all()) or not bool(true.isfinite().all()):
        return lines
    if ours.dtype != torch.float64:
        return lines
    known = terms(n, job, right)
    lines.append(
        "  shape of the error: "
        + "; ".join(shape.words(ours, true, known, job["elementwise"], name[1:]))
    )
    if said := conserved(name, ours, true, known):
        lines.append(f"  {said}")
    return lines


def terms(n: int, job: Any, right: Measured) -> dict[str, Tensor]:
    """The tensors that an error may be made of, by name, where they fit the n-th input."""
    x, p = leaves(job["inputs"])[n].detach(), naming.inputs(job)[n]
    found = {"1": torch.ones_like(x)}
    if len(job["g"]) == 1 and job["g"][0].shape == x.shape:
        g, y = job["g"][0].detach(), right["y"][0]
        found |= {"g": g, "y": y, p: x, "g*y": g * y, f"g*{p}": g * x}
        if not torch.equal(x, y):
            found |= {"y*y": y * y}
    else:
        found |= {p: x}
    return found


def conserved(name: str, ours: Tensor, true: Tensor, known: dict[str, Tensor]) -> str:
    """A sum over each row that the true gradient keeps at 0, kept or broken."""
    if true.dim() < 1 or true.shape[-1] < 2 or _largest(true) == 0:
        return ""
    for label, t in known.items():
        if label not in ("1", "y", name[1:]):
            continue
        scale = _largest(true) * _largest(t) * true.shape[-1]
        if _largest((true * t).sum(-1)) < 1e-10 * scale:
            sums = (ours * t).sum(-1).reshape(-1)
            what = f"{name} over a row" if label == "1" else f"{name}*{label} over a row"
            if _largest(sums) < 1e-10 * scale:
                return f"conserved: sum of {what} is 0 (kept)"
            return f"conserved: sum of {what} is 0 (broken: {_listed(sums)})"
    return ""


def _loop(context: Any, true: Measured, mine: Measured) -> Outcome:
    size = f"{context.steps} step{'s' * (context.steps != 1)}"

    def out(error: float, *words: str, raised: bool = False) -> Outcome:
        name = context.name
        return Outcome(name, size, error, context.rtol, words, "", mine["line"], raised)

    if mine["error"]:
        at = f" (line {mine['line']})" if mine["line"] else ""
        step = len(mine["states"]) + 1
        return out(math.inf, f"it raises in step {step}{at}:", f"  {mine['error']}", raised=True)
    worst = 0.0
    for step, (ours, theirs) in enumerate(zip(mine["states"], true["states"]), 1):
        scale = max((_largest(t) for t in theirs.values()), default=0.0) or 1.0
        for name, t in theirs.items():
            p = ours.get(name)
            if p is None or p.shape != t.shape:
                return out(math.inf, f"step {step}: the parameter {name} is missing")
            error = _gap(p, t) / scale
            worst = max(worst, error)
            if error > context.rtol:
                same = sum(
                    _gap(ours[k], v) / scale <= context.rtol for k, v in theirs.items() if k in ours
                )
                return out(
                    error,
                    f"step {step} is the first to leave the textbook's path: {len(theirs) - same} of "
                    f"{len(theirs)} parameters",
                    *_elements(name, p, t),
                    *_path(step, name, mine, true),
                )
    return out(worst)


def _path(step: int, name: str, mine: Measured, true: Measured) -> list[str]:
    """How far the parameter moved in this step, compared with the textbook."""
    moved = []
    for run in (mine, true):
        before = run.get("start", {}) if step < 2 else run["states"][step - 2]
        if before.get(name) is None or before[name].shape != run["states"][step - 1][name].shape:
            return []
        moved.append(run["states"][step - 1][name] - before[name])
    ours, theirs = (t.norm().item() for t in moved)
    if not theirs:
        return [f"  in this step {name} moved by {ours:.4g}, the textbook's not at all"]
    along = (moved[0] * moved[1]).sum().item() / ((ours or 1.0) * theirs)
    return [
        f"  in this step {name} moved {ours / theirs:.4g} times as far as the textbook's, "
        f"cosine {along:.3f}"
    ]


def _elements(name: str, ours: Tensor, true: Tensor) -> list[str]:
    ours, true = (t.detach().double() for t in (ours, true))
    if ours.shape != true.shape:
        return [f"{name} has shape {_size(ours)}, expected {_size(true)}"]
    gap = torch.where(ours.isfinite(), (ours - true).abs(), torch.full_like(true, math.inf))
    scale = max(_largest(ours), _largest(true)) or 1.0
    peak = gap[gap.isfinite()].max().item() if bool(gap.isfinite().any()) else 0.0
    wrong = gap > max(1e-9 * scale, 1e-3 * peak) if peak else ~gap.isfinite()
    wrong |= ~gap.isfinite()
    if not wrong.any():
        wrong = gap == gap.max()
    lines = [f"{int(wrong.sum())} of {true.numel()} elements of {name} are wrong"]
    first = tuple(int(i) for i in wrong.nonzero()[0])
    worst = tuple(int(i) for i in (gap == gap.max()).nonzero()[0])
    for word, at in (("first", first), ("worst", worst)):
        a, b = ours[at].item(), true[at].item()
        ratio = f"ratio {a / b:.5g}" if b and math.isfinite(a) else ""
        where = f"{name}{list(at)}" if at else name
        lines.append(f"  {word}  {where:<12} yours {a:+.6g}   expected {b:+.6g}   {ratio}".rstrip())
        if first == worst:
            break
    return lines


def _error(ours: Tensor, true: Tensor) -> float:
    if ours.shape != true.shape:
        return math.inf
    if ours.numel() == 0:
        return 0.0
    scale = max(_largest(ours), _largest(true))
    gap = _gap(ours, true)
    return gap / scale if scale else (0.0 if gap == 0 else math.inf)


def _gap(ours: Tensor, true: Tensor) -> float:
    if not bool((ours.isfinite() | ~true.isfinite()).all()):
        return math.inf
    if ours.numel() == 0:
        return 0.0
    wide = torch.promote_types(ours.dtype, torch.float64)
    return (ours.to(wide) - true.to(wide)).abs().nan_to_num(0.0).max().item()


def _largest(t: Tensor | None) -> float:
    if t is None or not t.numel():
        return 0.0
    finite = t.detach()[t.detach().isfinite()]
    return finite.abs().max().item() if finite.numel() else 0.0


def _listed(t: Tensor) -> str:
    shown = " ".join(f"{v:+.4g}" for v in t.reshape(-1)[:4].tolist())
    return shown + (" ..." if t.numel() > 4 else "")


def _size(t: Tensor) -> str:
    return "x".join(map(str, t.shape)) or "scalar"


def _dtype(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")
