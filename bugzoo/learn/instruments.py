"""The bench of find for operations: what can be measured on a program that one may not run, and what it costs.

Each instrument is a function `(bench, kind) -> Reading`; it is used on the exhibit, and on other wrong
programs to tell what they would have read.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor

from bugzoo import digits
from bugzoo.learn import judge, naming, shape
from bugzoo.learn.jobs import Bench
from bugzoo.learn.loop_instruments import LOOPS
from bugzoo.learn.measure import leaves, measure, words
from bugzoo.learn.reading import Instrument, Reading, cosine, hash_of
from bugzoo.oracle.probe import cotangent

STEPS = 40
MARKS = (1, 10, 20, 40)


def listed(bench: Bench) -> dict[str, Instrument]:
    """The instruments that fit this exhibit, by name."""
    chosen = LOOPS if bench.loop else OPS
    twice = bench.right.truth.twice
    return {i.name: i for i in chosen if twice or i.name != "second"}


def read(instrument: Instrument, bench: Bench, kind: Any) -> Reading:
    """The reading; an exception of the program is a reading too."""
    try:
        return instrument.read(bench, kind)
    except Exception as error:
        return Reading((f"it raises {words(error)}",), {"raises": math.inf})


def _loss(bench: Bench, kind: Any) -> Reading:
    """Train with it, and with the right one, from the same start."""
    seat, runs = bench.right.truth.seat, []
    for op in (kind.apply, bench.right.cls.apply):  # type: ignore[attr-defined]
        if seat is None:
            runs.append(_descent(bench, op))
        else:
            runs.append(_trained(seat, op, torch.Generator().manual_seed(bench.seed)))
    what = "a small network" if seat is not None else "descent on |y|^2"
    return _curves(f"{STEPS} steps of {what}, batch by batch", *runs)


def _trained(seat: Any, op: Any, gen: torch.Generator) -> list[float]:
    """Losses of a network in which the operation sits; momentum by hand: an optimizer imports a compiler."""
    model = seat(op, gen)
    held = list(model.parameters())
    speed = [torch.zeros_like(p) for p in held]
    found = []
    for (x, y), _ in zip(digits.batches(gen, 32), range(STEPS)):
        loss = model(x, y)
        grads = torch.autograd.grad(loss, held, allow_unused=True)
        with torch.no_grad():
            for p, v, d in zip(held, speed, grads):
                v.mul_(0.9).add_(0.0 if d is None else d)
                p.sub_(0.05 * v)
        found.append(loss.item())
    return found


def _curves(what: str, ours: list[float], right: list[float]) -> Reading:
    marks = [m for m in MARKS if m <= len(ours)] or [len(ours)]
    lines = [
        what,
        "  step       " + "".join(f"{m:>11d}" for m in marks),
        "  this one   " + "".join(f"{ours[m - 1]:11.4g}" for m in marks),
        "  the right  " + "".join(f"{right[m - 1]:11.4g}" for m in marks),
    ]
    return Reading(tuple(lines), {f"loss at step {m}": ours[m - 1] for m in marks})


def _descent(bench: Bench, op: Any) -> list[float]:
    job, _ = bench.truth(bench.cases[0])
    x = [t.detach().clone() if isinstance(t, Tensor) else t for t in job["inputs"]]
    found = []
    for _ in range(STEPS):
        live = [
            t.clone().requires_grad_(s.requires_grad) if isinstance(t, Tensor) else t
            for t, s in zip(x, job["inputs"])
        ]
        y = op(*live, *job["extras"])
        y = y[0] if isinstance(y, tuple) else y
        loss = (y * y).mean()
        found.append(loss.item())
        wrt = leaves(live)
        grads = iter(torch.autograd.grad(loss, wrt, allow_unused=True))
        step = []
        for t in live:
            if isinstance(t, Tensor) and t.requires_grad:
                d = next(grads)
                step.append(t.detach() - (0.05 * d if d is not None else 0.0))
            else:
                step.append(t)
        x = step
    return found


def _pair(bench: Bench, kind: Any, g: Any = None) -> tuple[Any, list[Tensor], list[Tensor]]:
    """The job of the first case, the exhibit's gradients in it and the true ones; `g`: other cotangents."""
    job, true = bench.truth(bench.cases[0])
    if g is not None:
        job = {**job, "g": tuple(g(b) for b in job["g"])}
        true = measure(bench.right.cls.apply, job)  # type: ignore[attr-defined]
    mine = measure(kind.apply, job)
    if mine["error"]:
        raise RuntimeError(mine["error"].partition(": ")[2])
    sides = []
    for side in (mine, true):
        sides.append(
            [
                torch.zeros_like(x) if d is None else d
                for x, d in zip(leaves(job["inputs"]), side["dx"])
            ]
        )
    return job, sides[0], sides[1]


def _norm(bench: Bench, kind: Any) -> Reading:
    """Length and direction beside the true gradient."""
    job, ours, true = _pair(bench, kind)
    lines, values = [], dict[str, float]()
    for name, a, b in zip(_named(job), ours, true):
        size = b.norm().item()
        ratio = a.norm().item() / size if size else math.inf
        along = cosine(a, b)
        lines.append(f"{name}: length {ratio:.4f} x the true one, cosine {along:.4f}")
        values |= {f"length of {name}": ratio, f"cosine of {name}": along}
    return Reading(tuple(lines), values)


def _cases(bench: Bench, kind: Any) -> Reading:
    """The relative error in each hidden case; why one fails that has none, said once."""
    lines, values, told = [], dict[str, float](), set[str]()
    for case in bench:
        made, true = bench.truth(case)
        seen = judge._operation(case, made, true, measure(kind.apply, made))
        error = seen.error if seen.words else 0.0
        said = f"{error:.1e}" if math.isfinite(error) else "fails"
        lines.append(
            f"{case.name:<18} {seen.size:<14} {said:>8}{'   ' + seen.note if seen.note else ''}"
        )
        reason = " ".join(w.strip() for w in seen.words[: 1 + seen.raised])
        if reason and not math.isfinite(error) and reason not in told:
            lines.append(f"    {reason}")
            told.add(reason)
        values[f"error in {case.name}"] = error
    return Reading(tuple(lines), values)


def _ones(bench: Bench, kind: Any) -> Reading:
    """The error when every element of g is 1: what a summed loss hands back."""
    job, ours, true = _pair(bench, kind, torch.ones_like)
    return _errors(job, ours, true, "with g all ones")


def _scale(bench: Bench, kind: Any) -> Reading:
    """A gradient is linear in g."""
    job, one, _ = _pair(bench, kind)
    _, ten, _ = _pair(bench, kind, lambda b: 10 * b)
    lines, values = [], dict[str, float]()
    for name, a, b in zip(_named(job), one, ten):
        gap = judge._error(b, 10 * a)
        lines.append(f"{name}: |{name}(10 g) - 10 {name}(g)| / |{name}(10 g)| = {gap:.1e}")
        values[f"departure of {name} from linear"] = gap if gap > 1e-9 else 0.0
    return Reading(tuple(lines), values)


def _onehot(bench: Bench, kind: Any) -> Reading:
    """g is 1 at one place: which elements are wrong then?"""
    job, ours, true = _pair(bench, kind, _one)
    lines, values = ["g is 1 at its first element and 0 elsewhere"], dict[str, float]()
    for name, a, b in zip(_named(job), ours, true):
        rows = (a - b).abs().flatten(1).amax(1) if b.dim() > 1 else (a - b).abs().reshape(-1)
        what = "row" if b.dim() > 1 else "element"
        shown = " ".join(f"{v:.3g}" for v in rows[:8].tolist())
        lines.append(
            f"{name}: largest error in each {what}: {shown}{' ...' if len(rows) > 8 else ''}"
        )
        values |= {f"error of {name} in {what} {n}": v for n, v in enumerate(rows[:8].tolist())}
    return Reading(tuple(lines), values)


def _one(b: Tensor) -> Tensor:
    hot = torch.zeros(b.shape, dtype=b.dtype)
    hot.reshape(-1)[0] = 1.0
    return hot


def _sums(bench: Bench, kind: Any) -> Reading:
    """Sums over each row, beside those of the true gradient."""
    job, ours, true = _pair(bench, kind)
    _, held = bench.truth(bench.cases[0])
    lines, values = [], dict[str, float]()
    for n, (name, a, b) in enumerate(zip(_named(job), ours, true)):
        if b.dim() < 1:
            continue
        known = judge.terms(n, job, held)
        for label in ("1", name[1:], "y"):
            if label not in known or n > 2:
                continue
            what = name if label == "1" else f"{name}*{label}"
            mine, theirs = ((t * known[label]).sum(-1).reshape(-1) for t in (a, b))
            lines.append(f"sum of {what:<7} over each row   {_row(mine)}")
            lines.append(f"{'it must be':>31}   {_row(theirs)}")
            values |= {f"sum of {what}, row {i}": v for i, v in enumerate(mine[:4].tolist())}
    return Reading(tuple(lines) or ("there are no rows here",), values)


def _row(t: Tensor) -> str:
    return " ".join(f"{0.0 if abs(v) < 1e-12 else v:+9.3f}" for v in t[:4].tolist())


def _map(bench: Bench, kind: Any) -> Reading:
    """|error| element by element."""
    job, ours, true = _pair(bench, kind)
    lines, values = [], dict[str, float]()
    for name, a, b in zip(_named(job), ours, true):
        gap = (a - b).abs()
        flat = gap.reshape(-1, gap.shape[-1]) if gap.dim() else gap.reshape(1, 1)
        lines.append(f"|error| of {name}, {judge._size(b)}")
        lines += ["  " + " ".join(f"{v:7.3g}" for v in row[:8].tolist()) for row in flat[:6]]
        first = flat[:6, :8].reshape(-1).tolist()
        values |= {f"error of {name}, element {i}": v for i, v in enumerate(first[:12])}
    return Reading(tuple(lines), values)


def _terms(bench: Bench, kind: Any) -> Reading:
    """The error as a combination of what the pass has in hand."""
    job, ours, true = _pair(bench, kind)
    _, held = bench.truth(bench.cases[0])
    lines, values = [], dict[str, float]()
    for n, (name, a, b) in enumerate(zip(_named(job), ours, true)):
        if judge._error(a, b) <= bench.cases[0].rtol:
            lines.append(f"{name}: no error")
            values[f"shape of {name}"] = 0.0
            continue
        said = shape.words(a, b, judge.terms(n, job, held), job["elementwise"], name[1:])
        lines += [f"{name}: {said[0]}", *(f"  {s}" for s in said[1:])]
        numbers = re.sub(
            r"[-+]?\d[\d.e+-]*", "#", "; ".join(said)
        )  # the words, not this draw's numbers
        values[f"shape of {name}"] = float(hash_of(numbers))
    return Reading(tuple(lines), values)


def _layout(bench: Bench, kind: Any) -> Reading:
    """The same cotangent in other memory layouts."""
    lines, values = [], dict[str, float]()
    for layout in ("contiguous", "narrow", "transposed", "expanded"):
        gen = torch.Generator().manual_seed(bench.seed)
        name = "random" if layout == "contiguous" else layout
        try:
            _, ours, true = _pair(bench, kind, lambda b, n=name, k=gen: cotangent(b, n, k))
            error = max(map(judge._error, ours, true), default=0.0)
        except RuntimeError as raised:
            lines.append(f"{layout:<12} it raises: {raised}")
            values[f"error with {layout} g"] = math.inf
            continue
        error = error if error > 1e-9 else 0.0
        lines.append(f"{layout:<12} error {error:.1e}")
        values[f"error with {layout} g"] = error
    return Reading(tuple(lines), values)


def _uses(bench: Bench, kind: Any) -> Reading:
    """What a pass leaves behind: writes, a second backward, another call in between."""
    job, _ = bench.truth(bench.cases[0])
    mine = measure(kind.apply, job)
    changed = [
        f"{naming.place(what, job)}, {n} of {of} elements" for what, n, of in mine["changed"]
    ]
    lines = (
        f"written into: {changed[0] if changed else 'nothing'}",
        *(f"              {more}" for more in changed[1:]),
        f"used again: {mine['again'] or 'the same, bit by bit'}",
        f"a zero cotangent gives {'finite numbers' if mine['zero'] else 'NaN or infinity'}",
    )
    values = {
        "elements written into": float(sum(n for _, n, _ in mine["changed"])),
        "a second use": float(bool(mine["again"])),
        "the answer to a zero cotangent": float(mine["zero"]),
    }
    return Reading(lines, values)


def _second(bench: Bench, kind: Any) -> Reading:
    """The gradient of the gradient."""
    job, true = bench.truth(bench.cases[0])
    mine = measure(kind.apply, job)
    lines, values = [], dict[str, float]()
    by = [*naming.inputs(job), *naming.cotangents(job)]
    for name, a, b in zip(by, mine.get("second", []), true.get("second", [])):
        if b is None:
            continue
        error = judge._error(torch.zeros_like(b) if a is None else a, b)
        error = error if error > 1e-8 else 0.0
        lines.append(
            f"derivative of <gradient, v> by {name}: {'none' if a is None else f'error {error:.1e}'}"
        )
        values[f"second-order error by {name}"] = error
    return Reading(tuple(lines) or ("there is none",), values)


def _errors(job: Any, ours: list[Tensor], true: list[Tensor], when: str) -> Reading:
    lines, values = [], dict[str, float]()
    for name, a, b in zip(_named(job), ours, true):
        gap = (a - b).abs().max().item() if b.numel() else 0.0
        size = b.abs().max().item() if b.numel() else 0.0
        shown = (
            f"{gap / size:.1e}" if size > 1e-12 else f"{gap:.1e} absolute; the true one is 0 here"
        )
        lines.append(f"{name} {when}: error {shown}")
        value = gap / size if size > 1e-12 else gap
        values[f"error of {name} {when}"] = value if value > 1e-9 else 0.0
    return Reading(tuple(lines), values)


def _named(job: Any) -> list[str]:
    return naming.gradients(job)


OPS = [
    Instrument("loss", 0, f"{STEPS} steps of training, beside the right one", _loss),
    Instrument("norm", 2, "length and direction of the gradient", _norm),
    Instrument("ones", 5, "error when g is all ones", _ones),
    Instrument("scale", 5, "is it linear in g?", _scale),
    Instrument("uses", 5, "writes; a second use; a zero cotangent", _uses),
    Instrument("layout", 5, "error with g in other memory layouts", _layout),
    Instrument("cases", 10, "relative error in each hidden case", _cases),
    Instrument("onehot", 10, "g is 1 at one place: which rows are wrong?", _onehot),
    Instrument("sums", 10, "sums over each row, beside the true ones", _sums),
    Instrument("second", 10, "the gradient of the gradient", _second),
    Instrument("map", 15, "|error| element by element", _map),
    Instrument("terms", 25, "the error in terms of 1, g, y, the input", _terms),
]
