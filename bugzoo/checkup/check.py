"""check(): the whole battery, the cheap and telling parts first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bugzoo.checkup.battery import Battery
from bugzoo.checkup.deadline import Late, deadline
from bugzoo.checkup.given import call_of, inputs_of, made_by
from bugzoo.checkup.merge import merged
from bugzoo.checkup.padding import Tables
from bugzoo.checkup.structure import opened, told
from bugzoo.checkup.target import Rejected, Target, copies, dense, untouched, weight
from bugzoo.errors import UserError
from bugzoo.finding import Checkup, Cost, Note
from bugzoo.model import DECLARATIONS

ROUNDING = 64.0  # by which two runs from one seed may differ: threads add in another order
PATIENCE = 20.0  # seconds of work without a budget; what is left then is noted


@torch.enable_grad()  # also where the caller has switched gradients off
def check(
    fn: Callable[..., Any],
    make_inputs: Any,
    *,
    budget: float | None = None,
    declare: str | tuple[str, ...] = (),
    seed: int = 0,
    second_order: bool = False,
) -> Checkup:
    """Examine the backward of `fn` at inputs derived from `make_inputs`.

    `fn(*inputs)` returns a tensor or a tuple of tensors; a Function class stands for its `apply`, a
    Module class for a module built without arguments. `make_inputs` is a function of a seed that
    returns fresh inputs, or a tuple of example inputs, or one tensor; a dict of parameter names goes
    in by keyword. Inputs may be tensors of any dtype, None, numbers, modules, and dicts, lists, tuples
    and dataclasses of these; floating tensors that require grad are examined, and where none does,
    all of them are. `budget` is in seconds; what was not done is noted. 0 asks for the
    core alone, on the inputs given: at most 12 passes, where nothing is suspicious.
    `declare`: what is so by intent, see bugzoo.model.DECLARATIONS: 'straight_through' (the gradient
    is not the derivative of the forward) or 'stop_gradient' (some elements get none).
    `second_order`: examine the derivative of the gradient even where no Function claims one.

    Raises UserError when there is nothing to examine. Wrong gradients are findings, never raised.
    """
    declared = (declare,) if isinstance(declare, str) else tuple(declare)
    for word in declared:
        if word not in DECLARATIONS:
            raise UserError(
                f"unknown declaration '{word}'; expected one of {', '.join(DECLARATIONS)}"
            )
    if budget is not None and not budget >= 0:
        raise UserError(f"budget={budget}: expected seconds, 0 or more")
    start, work = time.perf_counter(), time.thread_time()
    gen = torch.Generator().manual_seed(seed)
    fn = call_of(fn, seed)
    fn, row, names = opened(fn, made_by(make_inputs, seed))
    target = Target(fn)
    inputs, target.marked = inputs_of(row, bool(target.held))
    target.whole = weight(inputs)
    target.start_from(inputs)
    result = Checkup(seed=seed)
    started = False

    def late() -> bool:
        if budget is None:  # no promise was made: on a busy machine work counts, not waiting
            return time.thread_time() - work > PATIENCE
        return time.perf_counter() - start > budget

    battery = None
    with untouched(fn, inputs):
        try:
            with deadline(2 * budget + 1 if budget else None):
                first = _trial_run(target, inputs)
                started = True
                random = _randomness(target, inputs, first, result)
                battery = Battery(target, inputs, gen, result, late, declared, random, second_order)
                battery.run(first, core=budget == 0)
        except Late:
            if not started:
                raise UserError(
                    f"the function did not return within the budget of {budget:g} s on the inputs given"
                ) from None
            result.notes.append(Note("skipped", "the function did not return in time; the rest"))
    if battery is not None and battery.undone:
        result.notes.append(Note("skipped", f"no time for {'; '.join(battery.undone)}"))
    result.findings = merged(result.findings)
    _in_words(result, names)
    result.given = target.large
    result.cost = Cost(
        target.forwards, target.backwards, time.perf_counter() - start,
        sum(dense(x).nbytes for x in inputs if isinstance(x, Tensor)),
    )  # fmt: skip
    return result


def _in_words(result: Checkup, names: dict[int, str]) -> None:
    """Inputs by the names that they have in the program."""
    result.findings = [
        replace(
            f,
            what=told(f.what, names),
            where=told(f.where, names),
            variation=told(f.variation, names),
            cause=told(f.cause, names),
            also=told(f.also, names),
        )
        for f in result.findings
    ]
    result.notes = [replace(n, what=told(n.what, names)) for n in result.notes]
    result.done = [told(name, names) for name in result.done]


def _trial_run(target: Target, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The first call, on copies: a forward may spoil what it gets."""
    try:
        y = _first_call(target, inputs)
    except Rejected as error:
        raise UserError(f"the function raised on the inputs given: {error}") from error
    if not y:
        raise UserError(
            "the function returns no floating or complex tensor: nothing to differentiate"
        )
    if not any(t.requires_grad for t in y) and not target.leaves(inputs):
        raise UserError("no output requires grad: nothing to differentiate")
    return tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in y)


def _first_call(target: Target, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    try:
        return target.forward(copies(inputs))
    except Rejected as error:
        if "leaf Variable" not in str(error) or "in-place" not in str(error):
            raise
    # A declared in-place operation works on what another operation made, never on a leaf.
    inner = target.fn
    target.fn = lambda *given: inner(
        *(x.clone() if isinstance(x, Tensor) and x.requires_grad else x for x in given)
    )
    return target.forward(copies(inputs))


def _randomness(
    target: Target, inputs: tuple[Any, ...], first: tuple[Tensor, ...], result: Checkup
) -> bool:
    """Seeded randomness is noted and kept fixed; what no seed fixes cannot be examined by slopes.

    The last of the three calls is also looked at: which rows of tables get no gradient by contract.
    """
    # With a graph, as the first: without one kernels may take another path.
    same = target.forward(copies(inputs))
    if not _equal(first, same, ROUNDING):
        result.values = False
        result.notes.append(
            Note("random", "two runs from the same seed differ: values are not examined")
        )
        return True
    mine = copies(inputs)
    with torch.no_grad(), Tables() as tables:
        other = target.forward(mine, seed=target.seed + 77)
    target.padding = tables.padding(target.leaves(mine))
    if not _equal(first, other, ROUNDING):
        result.notes.append(Note("random", "the function draws random numbers: seeded inside"))
    return False


def _equal(a: tuple[Tensor, ...], b: tuple[Tensor, ...], roundings: float = 0.0) -> bool:
    """The same to so many roundings of the largest number."""
    if len(a) != len(b):
        return False
    for s, t in zip(a, b, strict=True):
        s, t = (dense(x.detach()).to(_known(x.dtype)).nan_to_num() for x in (s, t))
        if s.shape != t.shape:
            return False
        room = roundings * torch.finfo(t.dtype).eps * float(t.abs().max()) if t.numel() else 0.0
        if not torch.equal(s, t) and float((s - t).abs().max()) > room:
            return False
    return True


def _known(dtype: torch.dtype) -> torch.dtype:
    return torch.complex64 if dtype == torch.complex32 else dtype  # few kernels take the half
