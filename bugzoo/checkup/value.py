"""Is the gradient the derivative? One random direction first; on suspicion confirm, then localise.

A suspicion is confirmed with another direction, another cotangent and another step; outputs that sit
on a kink are left out. What stays is a defect: the leaf, the element and both numbers are looked up.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.checkup import replay, surrogate
from bugzoo.checkup.direction import Slope, dot, moved, randoms, slope
from bugzoo.checkup.judgement import (
    Grads,
    Seen,
    between,
    cotangents,
    forgivable,
    growth_of,
    guarded,
    number,
    raised,
    suspicious,
)  # fmt: skip
from bugzoo.checkup.locate import locate
from bugzoo.checkup.padding import mask
from bugzoo.checkup.rough import LIMIT, NOTHING, approximate, inexact, limited
from bugzoo.checkup.stops import Stops
from bugzoo.checkup.target import Target, copies, dense, flat
from bugzoo.finding import Finding, Note

LAST_DIGITS = 4.0  # roundings by which inputs are nudged


def examine(
    target: Target,
    inputs: tuple[Any, ...],
    gen: Generator,
    only: int | None = None,
    frozen: dict[int, Tensor] | None = None,
    stopped: bool = False,
) -> Seen:
    """Hold the backward at `inputs` against difference quotients of the forward.

    `only`: use this output alone, the others get no cotangent. `frozen`: for leaf number n, a mask
    of elements that must not move, because they lie on a kink. `stopped`: elements whose gradient
    is exactly 0 are so by intent.
    """
    leaves = target.leaves(inputs)
    y = target.forward(inputs)
    if not leaves or not y or not all(bool(t.detach().isfinite().all()) for t in map(dense, y)):
        return Seen()
    for n, row in mask(target, leaves).items():
        frozen = {**(frozen or {}), n: row | (frozen or {}).get(n, torch.zeros_like(row))}
    used = [t.requires_grad for t in y]
    if not any(used):
        used = [True for _ in y]  # the graph is cut: none passes anything on
    if only is not None:
        used = [on and n == only for n, on in enumerate(used)]
    if not any(used):
        return Seen()
    g = _chosen(cotangents(y, gen), used)
    u = _still(randoms([x for _, x in leaves], gen), frozen)
    try:
        dx = target.vjp(inputs, g, y)
    except Exception as error:
        return Seen([raised(error)])
    broken = _not_finite(target, inputs, leaves, dx, g)
    if broken:
        return broken
    if stopped:
        frozen = {
            n: (frozen or {}).get(n, False) | (dense(d) == 0)
            if d is not None
            else torch.ones(x.shape, dtype=torch.bool)
            for n, (d, (_, x)) in enumerate(zip(dx, leaves, strict=True))
        }
        u = _still([v for v in u if v is not None], frozen)
    center = tuple(t.detach().clone() for t in y)
    first = slope(target, inputs, u, g, center)
    if not first.finite or not suspicious(first, dx, u):
        return Seen()
    if first.error > 0.5 * abs(first.value):  # a jump within the step: at an exact zero, mostly
        zeros = {n: dense(x.detach()) == 0 for n, (_, x) in enumerate(leaves)}
        zeros = {n: z | (frozen or {}).get(n, False) for n, z in zeros.items()}
        if any(bool((z & (v != 0)).any()) for z, v in zip(zeros.values(), u, strict=True)):
            return examine(target, inputs, gen, only, zeros, stopped)
    exact = all(dense(x).dtype in (torch.float64, torch.complex128) for _, x in leaves)
    for shrink in (1.0, 0.1 if exact else 0.3):  # closer the noise of float32 drowns all
        g = _smooth(target, inputs, _chosen(cotangents(y, gen), used), gen, frozen)
        u = _still(randoms([x for _, x in leaves], gen), frozen)
        dx = target.vjp(inputs, g)
        again = slope(target, inputs, u, g, shrink=shrink)
        if not again.finite or not suspicious(again, dx, u):
            return Seen()
        if again.kinked and between(dot(dx, u), again):
            return Seen()
    if _only_rounding(target, inputs, g, u, dx, again, gen):
        return Seen()
    rough = inexact(target, inputs, g, u, dot(dx, u), again)
    if rough:
        return Seen([], [rough])
    return _explained(target, inputs, gen, g, u, dx, again, stopped)


def _only_rounding(
    target: Target, inputs: tuple, g: tuple, u: Grads, dx: Grads, s: Slope, gen: Generator
) -> bool:
    """Do inputs and cotangents that differ in their last digits move the gradient as far?"""
    mine, near = dot(dx, u), copies(inputs)

    def nudged(t: Tensor) -> Tensor:
        signs = torch.randint(0, 2, t.shape, generator=gen).to(t.device) * 2 - 1
        # Signs in float64: as integers they would make a float32 of the factor, and that is 1.
        return t * (1 + LAST_DIGITS * torch.finfo(t.dtype).eps * signs.double()).to(t.dtype)

    with torch.no_grad():
        for x in flat(near):  # copies; parameters are the user's own
            if isinstance(x, Tensor) and x.requires_grad and x.layout == torch.strided:
                x.copy_(nudged(x))
    other = target.vjp(near, tuple(None if b is None else nudged(b) for b in g))
    return abs(dot(other, u) - mine) > 0.2 * abs(mine - s.value)


def _explained(
    target: Target, inputs: tuple, gen: Generator, g: tuple, u: Grads, dx: Grads, s: Slope,
    stopped: bool,
) -> Seen:  # fmt: skip
    """What is left of a wrong slope after surrogates and explicit stop-gradients."""
    notes = []
    kinds = surrogate.find(target, inputs, gen)
    if kinds:
        rest = tuple(None if n in kinds else b for n, b in enumerate(g))
        words = ", ".join(f"output {n} ({kind})" for n, kind in sorted(kinds.items()))
        said = Note("surrogate", f"the gradient is by design not the derivative: {words}")
        if not any(b is not None for b in rest):
            return Seen([], [said])
        new = target.vjp(inputs, rest)
        t = slope(target, inputs, u, rest)
        if not suspicious(t, new, u):
            return Seen([], [said])
        if dot(new, u) != dot(dx, u):
            g, dx, s = rest, new, t
            notes.append(said)
    stops = Stops(target)
    stops.plain(inputs)
    if stops.words and not stops.left and (stopped or not _starved(target, inputs, g, dx, u)):
        t = slope(stops, inputs, u, g)
        target.forwards += stops.forwards
        if t.finite and (not suspicious(t, dx, u) or (t.kinked and between(dot(dx, u), t))):
            what = f"{stops.words} in the function explain the gradient: {dot(dx, u):.4g} for"
            return Seen(
                [], [*notes, Note("stop_gradient", f"{what} {s.value:.4g} along a direction")]
            )
    found, leaf = locate(target, inputs, g, dx, u, s)
    if found is None:
        where = target.leaves(inputs)[leaf][0]
        return Seen(
            [], [*notes, Note("convention", f"a kink: the gradient of {where} is one-sided")]
        )
    whole = dx[leaf]
    plain = whole is None or not whole.is_complex()  # a finding tells real parts only
    guard = limited(found) if plain and replay.names(target, inputs) else None
    if guard and not _beyond(target, inputs, g, u):
        return Seen([], [*notes, guard])
    nearly = approximate(target, inputs, found, whole)
    return Seen([], [*notes, nearly]) if nearly else Seen([found], notes)


def _beyond(target: Target, inputs: tuple, g: tuple, u: Grads) -> bool:
    """Is the gradient also wrong where it is neither huge nor next to nothing?"""
    g = tuple(None if b is None else b.sgn() for b in g)  # no small ones, which hide a limit
    dx = target.vjp(inputs, g)
    rest: Grads = []
    for d, v in zip(dx, u, strict=True):
        usual = None if d is None else (dense(d).abs() < LIMIT) & (dense(d).abs() > NOTHING)
        rest.append(v if usual is None or v is None else torch.where(usual, v, torch.zeros_like(v)))
    return suspicious(slope(target, inputs, rest, g), dx, rest)


def _starved(target: Target, inputs: tuple, g: tuple, dx: Grads, u: Grads) -> bool:
    """A leaf that is meant to learn gets nothing, though the result depends on it."""
    for n, ((name, _), d) in enumerate(zip(target.leaves(inputs), dx, strict=True)):
        held = "," in name or not name.startswith("input")
        if (d is None or not bool(dense(d).any())) and (target.marked or held):
            alone: Grads = [v if m == n else None for m, v in enumerate(u)]
            if suspicious(slope(target, inputs, alone, g), dx, alone):
                return True
    return False


def starving(target: Target, inputs: tuple[Any, ...], gen: Generator) -> Seen:
    """Leaves that no output passes anything to, though one that requires no grad follows them."""
    y = target.forward(inputs)
    g = cotangents(y, gen)
    leaves = target.leaves(inputs)
    dx = target.vjp(
        inputs, tuple(b if t.requires_grad else None for b, t in zip(g, y, strict=True)), y
    )
    deaf = [n for n, t in enumerate(y) if not t.requires_grad]
    if not deaf or len(deaf) == len(y):
        return Seen()
    seen = Seen([], [Note("output", f"output {n} does not require grad: it passes no gradient on")
                     for n in deaf[:3]])  # fmt: skip
    u = randoms([x for _, x in leaves], gen)
    for n, ((name, _), d) in enumerate(zip(leaves, dx, strict=True)):
        if d is None and target.marked:
            alone: Grads = [v if m == n else None for m, v in enumerate(u)]
            s = slope(target, inputs, alone, g)
            if s.finite and suspicious(s, dx, alone):
                seen.findings.append(Finding(
                    "value", "no output passes a gradient on to this input", name, 0.0, s.value,
                    cause=f"only output {deaf[0]} follows it: detached, or marked as not differentiable",
                ))  # fmt: skip
    return seen


def finite(target: Target, inputs: tuple[Any, ...], gen: Generator) -> Seen:
    """Only this: a Function's backward is finite where its forward, and autograd of it, are."""
    y = target.forward(inputs)
    g = cotangents(y, gen)
    try:
        dx = target.vjp(inputs, g, y)
    except Exception as error:
        return Seen([raised(error)])
    if all(d is None or bool(dense(d).isfinite().all()) for d in dx):
        return Seen()
    true = replay.gradients(target, inputs, g)
    for (name, x), d, t in zip(target.leaves(inputs), dx, true or [], strict=False):
        if d is None or t is None or d.layout != torch.strided or not bool(t.isfinite().all()):
            continue
        bad = ~d.isfinite()
        if bad.any():
            element = tuple(int(i) for i in bad.nonzero()[0]) if d.dim() else ()
            return Seen([Finding(
                "value", f"the gradient is {number(d[element])} in {int(bad.sum())} of {d.numel()} "
                "elements where the function is finite",
                f"{name}{list(element)} = {number(x.detach()[element]):.6g}",
                number(d[element]), number(t[element]),
                cause="the backward overflows where the forward does not",
            )])  # fmt: skip
    return Seen()


def _smooth(
    target: Target, inputs: tuple, g: tuple, gen: Generator, frozen: dict[int, Tensor] | None
) -> tuple[Tensor | None, ...]:
    """The cotangents with zeros where an output bends within the step: a kink lies there."""
    leaves = target.leaves(inputs)
    u = _still(randoms([x for _, x in leaves], gen), frozen)
    narrow = any(x.dtype != torch.float64 and x.is_floating_point() for _, x in leaves)
    h = 1e-2 if narrow else 1e-5
    y, plus, minus = target.plain(inputs), moved(target, inputs, u, h), moved(target, inputs, u, -h)
    kept: list[Tensor | None] = []
    for b, mid, up, down in zip(g, y, plus, minus, strict=True):
        if b is None:
            kept.append(None)
            continue
        mid, up, down = map(dense, (mid, up, down))
        bend = (up - 2 * mid + down).abs()
        rise = (up - down).abs()
        kinked = bend > 0.02 * rise + 1e-9 * mid.abs()
        kept.append(b if bool(kinked.all()) else torch.where(kinked, torch.zeros_like(b), b))
    return tuple(kept)


def _not_finite(target: Target, inputs: tuple, leaves: list, dx: Grads, g: tuple) -> Seen | None:
    for n, (d, (name, x)) in enumerate(zip(dx, leaves, strict=True)):
        if d is None or bool(dense(d).isfinite().all()):
            continue
        d = dense(d)
        element = tuple(int(i) for i in (~d.isfinite()).nonzero()[0]) if d.dim() else ()
        u: Grads = [None for _ in leaves]
        step = torch.zeros_like(x.detach())
        step[element] = 1.0
        u[n] = step
        y = target.plain(inputs)
        s = slope(target, inputs, u, g, y)
        where = f"{name}{list(element)} = {number(x.detach()[element]):.6g}"
        growth = growth_of(target, inputs, u, g, y)
        infinite = (
            max(growth) > 3 and not bool(d[element].isnan()) and not guarded(target, inputs, growth)
        )
        if not s.finite or infinite or forgivable(target, inputs, growth):
            return Seen([], [_no_slope(number(d[element]), where)])
        count = int((~d.isfinite()).sum())
        return Seen([Finding(
            "value", f"the gradient is {number(d[element])} in {count} of {d.numel()} elements where "
            "the function is finite", where, number(d[element]), s.value,
            cause="0/0, or inf times 0, inside the backward",
        )])  # fmt: skip
    return None


def _no_slope(given: float, where: str) -> Note:
    if given == given:
        return Note("convention", f"gradient {given}, slope infinite: {where}")
    return Note(
        "risk", f"the gradient is NaN and the function is finite, if steep: {where}; guard it"
    )


def _chosen(g: tuple[Tensor, ...], used: list[bool]) -> tuple[Tensor | None, ...]:
    return tuple(b if on else None for b, on in zip(g, used, strict=True))


def _still(u: list[Tensor], frozen: dict[int, Tensor] | None) -> Grads:
    for n, still in (frozen or {}).items():
        u[n] = torch.where(still, torch.zeros_like(u[n]), u[n])
    return list(u)
