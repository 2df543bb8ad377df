"""How a consumer may use the operation: other cotangents, a second backward, edits, letting go.

What is compared here is the backward with itself, so the answers are exact: no difference quotient
is needed, and a disagreement beyond rounding is a defect.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from bugzoo.checkup.judgement import cotangents, raised
from bugzoo.checkup.target import Rejected, Target, copies, dense, flat
from bugzoo.errors import first_line
from bugzoo.finding import Finding
from bugzoo.mismatch import compare

Grads = list[Tensor | None]
_FLOOR = 1e-12  # cotangents are of the size of 1: a gradient below this is rounding
SUM_OF_TWO = 0.03  # the relative error that rounding may bring into a sum
HOARD = 3  # calls whose tensors are followed
LAYOUTS = ("transposed", "narrow", "stepped", "expanded")


def examine(
    target: Target,
    inputs: tuple[Any, ...],
    gen: Generator,
    late: Callable[[], bool] = lambda: False,
    surrogate: bool = False,
    undone: list[str] | None = None,
) -> Iterator[Finding]:
    """All uses, one after the other; each is about two or three passes.

    `surrogate`: the gradient is one by design, and may clip or ignore the cotangent. What there was
    no time for is put into `undone`.
    """
    linear = () if surrogate else (cotangent_scale, zero)
    for use in (
        *linear,
        cotangent_layout,
        twice,
        interleaved,
        alone,
        frozen,
        edited,
        in_company,
        freed,
        hoarded,
    ):
        if late():
            if undone is not None:
                undone.append(use.__name__.replace("_", " "))
            continue
        try:
            yield from use(target, inputs, gen)
        except Rejected:
            continue
        except Exception as error:
            yield raised(error, variation=use.__name__.replace("_", " "))
            return


def cotangent_scale(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """Any vjp is linear in its cotangent: dx(a g + c h) = a dx(g) + c dx(h)."""
    y = target.forward(inputs)
    g, h = cotangents(y, gen), cotangents(y, gen)
    dg = target.vjp(inputs, g, y, retain_graph=True)
    dh = target.vjp(inputs, h, y, retain_graph=True)
    for a, c, words in (
        (-2.0, 0.5, "-2 g + 0.5 h"),
        (1024.0, 0.0, "1024 g"),
        (-(2.0**-10), 0.0, "-g / 1024"),
    ):
        mixed = tuple(a * s + c * t for s, t in zip(g, h, strict=True))
        got = target.vjp(inputs, mixed, y, retain_graph=True)
        want = [_mix(a, s, c, t) for s, t in zip(dg, dh, strict=True)]
        found = _furthest(target, inputs, got, want)
        if c and found and found[0] < SUM_OF_TWO and target.eps > 1e-12:
            continue  # a narrower type inside rounds a sum another way; a plain factor it does not
        if found:
            yield Finding(
                "value", "the gradient is not linear in the cotangent", found[1], error=found[0],
                variation=f"cotangent {words}",
                cause="g is clipped, normalised, its sign or magnitude used, or left out of a term",
            )  # fmt: skip
            return


def cotangent_layout(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """The same numbers in another memory order give the same gradient."""
    y = target.forward(inputs)
    plain = cotangents(y, gen)
    one = tuple(torch.ones_like(b, memory_format=torch.contiguous_format) for b in plain)
    for layout in LAYOUTS:
        values = one if layout == "expanded" else plain
        g = tuple(laid_out(b, layout) for b in values)
        if all(b.stride() == v.stride() for b, v in zip(g, values, strict=True)):
            continue
        want = target.vjp(inputs, tuple(v.contiguous() for v in values), y, retain_graph=True)
        try:
            got = target.vjp(inputs, g, y, retain_graph=True)
        except Exception as error:
            what = f"the backward raises {type(error).__name__} for a {layout} cotangent"
            yield Finding("contract", f"{what}: {first_line(error)}", variation=f"{layout} cotangent",
                          cause="it writes into the cotangent or takes .view() of it")  # fmt: skip
            continue
        found = _furthest(target, inputs, got, want)
        if found:
            yield Finding(
                "value", "the gradient depends on the memory layout of the cotangent", found[1],
                error=found[0], variation=f"{layout} cotangent",
                cause="the cotangent's storage is read as if it were contiguous",
            )  # fmt: skip


def zero(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """A zero cotangent gives a zero gradient, not NaN."""
    y = target.forward(inputs)
    for (name, _), d in zip(
        target.leaves(inputs), target.vjp(inputs, tuple(map(torch.zeros_like, y)), y), strict=True
    ):
        if d is not None and bool((dense(d) != 0).any()):
            bad = dense(d)[dense(d) != 0].reshape(-1)[0]
            yield Finding(
                "contract", "a zero cotangent gives a gradient that is not zero", name,
                float(bad.real), 0.0, variation="zero cotangent",
                cause="a term lacks the factor g, or 0 is divided by 0",
            )  # fmt: skip


def lent(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """Inputs, outputs and cotangent are only lent: forward and backward leave them bit by bit.

    An input that needs no gradient may be state that the forward updates: running statistics, say.
    """
    given = {f"input {n}": x for n, x in enumerate(inputs) if isinstance(x, Tensor)}
    before = {name: x.detach().clone() for name, x in given.items()}
    y = target.forward(inputs)
    for name, x in given.items():
        # A leaf: where an in-place operation were declared, torch had refused it.
        if x.requires_grad and not _identical(x.detach(), before[name]):
            yield _spoiled("the forward", name, x, before[name])
            return
    g = cotangents(y, gen)
    given |= {f"output {n}": b for n, b in enumerate(y)}
    given |= {f"cotangent {n}": b for n, b in enumerate(g)}
    before = {name: x.detach().clone() for name, x in given.items()}
    leaves = target.leaves(inputs)
    held = [(_grad(x), getattr(_grad(x), "_version", 0)) for _, x in leaves]
    dx = target.vjp(inputs, g, y, retain_graph=True)
    for (name, x), d, (old, version) in zip(leaves, dx, held, strict=True):
        new = _grad(x)
        if new is None or (new is old and new._version == version):
            continue
        x.grad = old
        if d is not None:
            yield Finding(
                "side_effect", "the backward writes into .grad, and returns a gradient too", name,
                cause="autograd adds what backward returns: it counts twice",
            )  # fmt: skip
            break
    for name, x in given.items():
        if not _identical(x.detach(), before[name]):
            yield _spoiled("the backward", name, x, before[name])


def _grad(x: Tensor) -> Tensor | None:
    return x.grad if x.is_leaf else None


def twice(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """A second backward through the same graph gives the same; a gradient handed out stays as it is."""
    y = target.forward(inputs)
    g, h = cotangents(y, gen), cotangents(y, gen)
    first = target.vjp(inputs, _fresh(g), y, retain_graph=True)
    kept = _copy(first)
    target.vjp(inputs, _fresh(h), y, retain_graph=True)
    moved = _furthest(target, inputs, first, kept, exact=True)
    if moved:
        yield Finding("reentrancy", "a gradient that was handed out changes in the next backward",
                      moved[1], error=moved[0], variation="backward with g, then with h",
                      cause="backward returns a buffer that it keeps and uses again")  # fmt: skip
        return
    again = target.vjp(inputs, _fresh(g), y)
    found = _furthest(target, inputs, again, kept)
    if found:
        yield Finding("reentrancy", "a second backward with the same cotangent gives another gradient",
                      found[1], error=found[0], variation="backward with g, h, g",
                      cause="backward changes what it saved, or is random")  # fmt: skip


def interleaved(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """Two calls alive at once do not know of each other."""
    y = target.forward(inputs)
    g = cotangents(y, gen)
    want = _copy(target.vjp(inputs, _fresh(g), y))
    mine, other = copies(inputs), copies(inputs)
    with torch.no_grad():
        for x in flat(other):
            if isinstance(x, Tensor) and x.requires_grad:
                x.mul_(1.25)
    y_mine = target.forward(mine)
    try:
        y_other = target.forward(other)
        wait = target.vjp(other, cotangents(y_other, gen), y_other, retain_graph=True)
    except Exception:
        return
    found = _furthest(target, mine, target.vjp(mine, _fresh(g), y_mine), want)
    del wait
    if found:
        yield Finding("reentrancy", "another call between forward and backward changes the gradient",
                      found[1], error=found[0], variation="two calls alive at once",
                      cause="something is kept on the class, the module or globally, not in ctx")  # fmt: skip


def alone(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """A leaf gets the same gradient whether or not the others require one."""
    leaves = target.leaves(inputs)
    slots = [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if len(leaves) < 2 or not slots:
        return
    y = target.forward(inputs)
    g = cotangents(y, gen)
    together = _copy(target.vjp(inputs, _fresh(g), y))
    for slot in slots[:6]:
        mine = copies(inputs)
        for x in flat(mine):
            if isinstance(x, Tensor) and x.requires_grad and x is not mine[slot]:
                x.requires_grad_(False)
        name = f"input {slot}"
        want = (
            together[[n for n, _ in leaves].index(name)] if name in [n for n, _ in leaves] else None
        )
        try:
            y = target.forward(mine)
            d = target.vjp(mine, _fresh(g), y)[0] if any(t.requires_grad for t in y) else None
        except Rejected:
            continue
        except Exception as error:
            yield raised(error, where=name, variation=f"only {name} requires grad")
            continue
        if want is None:
            continue
        found = compare(None if d is None else dense(d), dense(want), name)
        if found.error > _rounding([want], target):
            yield Finding("contract", "the gradient depends on which other inputs require one",
                          found.words, error=found.error, variation=f"only {name} requires grad",
                          cause="ctx.needs_input_grad is asked for the wrong input")  # fmt: skip


def frozen(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """Parameters get the same gradient where the inputs, or one of themselves, require none."""
    parameters = [(name, x) for name, x in target.leaves(inputs) if _inside(name)]
    if not parameters:
        return
    y = target.forward(inputs)
    g = cotangents(y, gen)
    leaves = target.leaves(inputs)
    want = dict(
        zip([id(x) for _, x in leaves], _copy(target.vjp(inputs, _fresh(g), y)), strict=True)
    )
    given = [x for name, x in leaves if not _inside(name)]
    for words, off in (
        ("the inputs require no grad", given),
        *((f"{name} requires no grad", [x]) for name, x in parameters[:4] if len(leaves) > 1),
    ):
        if not off:
            continue
        try:
            for x in off:
                x.requires_grad_(False)
            left = [x for _, x in target.leaves(inputs)]
            y = target.forward(inputs)
            got = target.vjp(inputs, _fresh(g), y) if any(t.requires_grad for t in y) else []
            found = _furthest(target, inputs, got, [want[id(x)] for x in left]) if got else None
        except Rejected:
            continue
        except Exception as error:
            yield raised(error, variation=words)
            continue
        finally:
            for x in off:
                x.requires_grad_(True)
        if found:
            yield Finding("contract", "the gradient depends on which other inputs require one",
                          found[1], error=found[0], variation=words,
                          cause="ctx.needs_input_grad is asked for the wrong input")  # fmt: skip
            return


def _inside(name: str) -> bool:
    """Of a leaf that is no tensor argument: a parameter, or what the function holds."""
    return "," in name or not name.startswith("input")


def edited(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """An in-place edit of an input or output between the passes is refused, or does no harm.

    autograd refuses it when the tensor was saved with save_for_backward; an attribute of ctx is
    invisible to that check.
    """
    y = target.forward(inputs)
    if not y or any(t.layout != torch.strided for t in y):
        return
    g = cotangents(y, gen)
    leaves = [x for _, x in target.leaves(inputs)]
    want: Grads = []
    for what in ("nothing", "input", "output"):
        # The operation gets tensors that may be edited: copies that are no leaves.
        given = tuple(x.clone() if isinstance(x, Tensor) and x.requires_grad else x for x in inputs)
        y = target.forward(given)
        spoil = (
            [
                x
                for x, old in zip(given, inputs, strict=True)
                if isinstance(x, Tensor) and x is not old
            ]
            if what == "input"
            else [t for t in y if t.requires_grad and what == "output"]
        )
        try:
            with torch.no_grad():
                for t in spoil:
                    t.add_(1.0)
            got: Grads = list(torch.autograd.grad(y, leaves, _fresh(g), allow_unused=True))
            target.backwards += 1
        except RuntimeError:
            continue  # refused: that is right
        if what == "nothing":
            want = got
            continue
        found = _furthest(target, inputs, got, want) if want else None
        if found:
            yield Finding("side_effect", f"an {what} edited in place between the passes changes the "
                          "gradient, and no error says so", found[1], error=found[0],
                          variation=f"{what} edited between forward and backward",
                          cause="a tensor is kept as an attribute of ctx: use save_for_backward")  # fmt: skip


class _Keeps(torch.autograd.Function):
    """x as it is; notices when the output that it saved is no longer x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone(memory_format=torch.preserve_format)
        ctx.save_for_backward(x.detach().clone(), y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        before, now = ctx.saved_tensors
        return g if _identical(before, now.detach()) else torch.full_like(g, torch.nan)


def in_company(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """After an operation that saves its output, beside a residual consumer, before cat: the sum rule.

    x = keeps(a);  z = cat(f(x), x):  da = dx(g) + k for the cotangent (g, k) of z.
    """
    slots = [n for n, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not slots or any(inputs[n].layout != torch.strided for n in slots):
        return
    leaves = [x for _, x in target.leaves(inputs)]
    given = tuple(_Keeps.apply(x) if n in slots else x for n, x in enumerate(inputs))
    y = target.forward(given)
    y = tuple(t for t in y if t.requires_grad and t.layout == torch.strided)
    if not y or len({t.dtype for t in (*y, *(given[n] for n in slots))}) > 1:
        return
    whole = torch.cat([t.reshape(-1) for t in (*y, *(given[n] for n in slots))])
    g = cotangents((whole,), gen)[0]
    try:
        got = list(torch.autograd.grad(whole, leaves, g.clone(), allow_unused=True))
    except Exception as error:
        yield raised(error, variation="beside another consumer")
        return
    target.backwards += 1
    parts = iter(g.split([t.numel() for t in (*y, *(given[n] for n in slots))]))
    lone = tuple(x.clone() if n in slots else x for n, x in enumerate(inputs))
    fresh = target.forward(lone)
    mine = tuple(next(parts).reshape(t.shape).clone() if t.requires_grad and t.layout == torch.strided
                 else None for t in fresh)  # fmt: skip
    outs, weights = zip(*[(t, b) for t, b in zip(fresh, mine, strict=True) if b is not None])
    plain: Grads = list(torch.autograd.grad(outs, leaves, weights, allow_unused=True))
    target.backwards += 1
    rest: dict[int, Tensor | None] = {}
    for n in slots:  # one tensor may stand in two of them
        rest[id(inputs[n])] = _sum(rest.get(id(inputs[n])), next(parts).reshape(inputs[n].shape))
    want: Grads = [_sum(d, rest.get(id(x))) for d, x in zip(plain, leaves, strict=True)]
    found = _furthest(target, inputs, got, want)
    if found:
        yield Finding("side_effect", "the gradient is another one beside a second consumer of the input",
                      found[1], error=found[0],
                      variation="after an operation that saved its output, beside a residual, before cat",
                      cause="forward or backward writes into what it shares with others")  # fmt: skip


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return dense(a) + b


def freed(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """The graph goes when its outputs go; a cycle or a hoard keeps it and all that it saved."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        watch = [_sentinel(target, inputs, gen, used) for used in (True, False)]
        held = [ref() is not None for ref in watch]
        if not any(held):
            return
        gc.collect()
        kept = [ref() is not None for ref in watch]
    finally:
        if enabled:
            gc.enable()
    how = "for ever" if any(kept) else "until the garbage collector runs"
    yield Finding("memory", f"the graph stays alive {how} after its outputs are gone",
                  variation="forward, backward, outputs deleted" if held[0] else "forward, outputs deleted",
                  cause="something global holds it" if any(kept) else
                  "a reference cycle: ctx holds an output as an attribute")  # fmt: skip


def hoarded(target: Target, inputs: tuple, gen: Generator) -> Iterator[Finding]:
    """What a call was lent, and what it gave, goes with it. A cache of the last call may stay."""
    calls = [_lent_to(target, inputs, gen) for _ in range(HOARD)]
    if not _all_there(calls):
        return
    gc.collect()
    kept = _all_there(calls)
    if kept:
        yield Finding("memory", f"each call's {kept} stays alive for ever", variation=f"{HOARD} calls",
                      cause="a list or a table on the class, the module or globally holds it")  # fmt: skip


def _all_there(calls: list[dict[str, StorageWeakRef]]) -> str:
    """The first kind of tensor of which every call's is alive."""
    return next((k for k in calls[0] if all(k in c and not c[k].expired() for c in calls)), "")


def _lent_to(target: Target, inputs: tuple, gen: Generator) -> dict[str, StorageWeakRef]:
    mine = copies(inputs)
    y = target.forward(mine)
    g = cotangents(y, gen)
    given = {"cotangent": g[0], "output": y[0]}
    given |= {f"input {n}": x for n, x in enumerate(mine) if isinstance(x, Tensor)}
    target.vjp(mine, g, y)
    if target.last and target.last[0] is not None:
        given["gradient"] = target.last[0]
    target.last = []
    return {
        name: StorageWeakRef(t.untyped_storage())
        for name, t in given.items()
        if t.layout == torch.strided and t.numel()
    }


def laid_out(t: Tensor, layout: str) -> Tensor:
    """The same values with other strides; the tensor itself where that is not possible."""
    if layout == "transposed" and t.dim() >= 2:
        return t.mT.contiguous().mT
    if layout == "narrow" and t.dim() >= 1 and t.shape[-1] > 0:
        return torch.cat([torch.full_like(t, 7.5), t, torch.full_like(t, -7.5)], -1).narrow(
            -1, t.shape[-1], t.shape[-1]
        )
    if layout == "stepped" and t.dim() >= 1:
        return torch.stack([t, torch.full_like(t, 7.5)], -1)[..., 0]
    if layout == "expanded":
        first = t.reshape(-1)[:1]
        return first.reshape(()).expand(t.shape) if first.numel() else t
    return t


class _Sentinel:
    """Lives as long as the graph node that holds it."""


def _sentinel(target: Target, inputs: tuple, gen: Generator, used: bool) -> weakref.ref:
    mine = copies(inputs)
    y = target.forward(mine)
    mark = _Sentinel()
    for t in y:
        if t.grad_fn is not None:
            t.grad_fn.metadata["bugzoo"] = mark  # type: ignore[index]
            break
    else:
        return weakref.ref(mark)
    if used:
        target.vjp(mine, cotangents(y, gen), y)
    return weakref.ref(mark)


def _furthest(
    target: Target,
    inputs: tuple,
    got: Sequence[Tensor | None],
    want: Sequence[Tensor | None],
    exact: bool = False,
) -> tuple[float, str] | None:
    """The worst disagreement beyond rounding, as (error, words)."""
    worst: tuple[float, str] | None = None
    for (name, _), a, b in zip(target.leaves(inputs), got, want, strict=True):
        if a is None and b is None:
            continue
        true = dense(b) if b is not None else torch.zeros_like(dense(a))  # type: ignore[arg-type]
        found = compare(None if a is None else dense(a), true, name)
        if not exact and found.error < float("inf"):
            floor = max(_FLOOR, 50 * _eps([true], target) * _steepness(target, inputs))
            if found.error * _size(a, true) <= floor:
                continue
        if found.error > _rounding([true], target, exact) and (
            worst is None or found.error > worst[0]
        ):
            worst = found.error, found.words
    return worst


def _size(a: Tensor | None, b: Tensor) -> float:
    sizes = [dense(t).abs().max().item() for t in (a, b) if t is not None and t.numel()]
    return max(map(float, sizes), default=0.0)


def _eps(tensors: Sequence[Tensor], target: Target) -> float:
    return max(target.eps, *(torch.finfo(t.dtype).eps for t in tensors))


def _steepness(target: Target, inputs: tuple) -> float:
    """The size of outputs by that of inputs: what a gradient is made of before it cancels."""
    x = max((_size(None, dense(x.detach())) for _, x in target.leaves(inputs)), default=1.0)
    return target.largest / x if x > 0 else 0.0


def _rounding(tensors: Sequence[Tensor], target: Target, exact: bool = False) -> float:
    """0 asks for equal bits; else well above rounding, even after cancellation: defects are gross."""
    return _eps(tensors, target) ** 0.4 * (not exact)


def _mix(a: float, s: Tensor | None, c: float, t: Tensor | None) -> Tensor | None:
    if s is None or t is None:
        return None
    return a * dense(s) + (c * dense(t) if c else 0.0)


def _fresh(g: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(b.clone() for b in g)


def _copy(grads: Grads) -> Grads:
    return [None if d is None else d.detach().clone() for d in grads]


def _identical(a: Tensor, b: Tensor) -> bool:
    a, b = dense(a), dense(b)
    return (
        a.shape == b.shape
        and torch.equal(torch.isnan(a), torch.isnan(b))
        and torch.equal(a.nan_to_num(), b.nan_to_num())
    )


def _spoiled(who: str, name: str, now: Tensor, before: Tensor) -> Finding:
    differ = (dense(now.detach()) != dense(before)).reshape(-1)
    n = int(differ.nonzero()[0])
    a, b = dense(now.detach()).reshape(-1)[n], dense(before).reshape(-1)[n]
    return Finding(
        "side_effect", f"{who} changes {name}, which it was only lent",
        f"{int(differ.sum())} of {differ.numel()} elements, first [{n}]",
        float(a.real), float(b.real), variation=f"{who} alone",
        cause="an in-place write; another consumer of the same tensor gets a wrong gradient",
    )  # fmt: skip
