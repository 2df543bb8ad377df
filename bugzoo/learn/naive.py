"""How well a mistake hides: the checks that people use first, and which of them miss it.

level = 1 + number of naive checks that miss it, one more where an edge case alone shows it; 5 at most
"""

import math
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bugzoo.learn import instruments, judge
from bugzoo.learn.find import _kind
from bugzoo.learn.fix import before, bench
from bugzoo.learn.jobs import Bench
from bugzoo.learn.loop_instruments import leaves_at
from bugzoo.learn.measure import again, leaves, outputs
from bugzoo.learn.pool import Exhibit

NAMES = {
    "loss": "the loss goes down",
    "one_index": "one random element of a summed loss",
    "summed": "every element of a summed loss",
    "one_row": "a random cotangent, one row",
    "first_step": "the first step alone",
    "gradients": "a gradient everywhere after a step",
    "one_setting": "the first setting alone",
}
H = 1e-6


@lru_cache(maxsize=2048)
def misses(exhibit: Exhibit, seed: int = 0) -> tuple[str, ...]:
    """The naive checks that let the exhibit pass."""
    held, kind = bench(exhibit, seed), _kind(exhibit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = _loops if held.loop else _operations
        return tuple(name for name, passed in checks(held, kind) if passed)


def level(exhibit: Exhibit, seed: int = 0) -> int:
    """1 (shows everywhere) to 5 (hides well)."""
    held = bench(exhibit, seed)
    right = set(before(exhibit, seed))
    edge = held.cases[0].name in right
    return min(5, 1 + len(misses(exhibit, seed)) + edge)


def asked(exhibit: Exhibit) -> tuple[str, ...]:
    """The naive checks that were asked about it."""
    if exhibit.right.kind == "loop":
        return ("loss", "first_step", "gradients", "one_setting")
    return ("loss", "one_index", "summed", "one_row")


def _operations(held: Bench, kind: Any) -> list[tuple[str, bool]]:
    job, _ = held.truth(held.cases[0])
    return [
        ("loss", _falls(held, kind)),
        ("one_index", _safely(_summed, kind, job, True)),
        ("summed", _safely(_summed, kind, job, False)),
        ("one_row", _safely(_one_row, held, kind)),
    ]


def _safely(check: Any, *args: Any) -> bool:
    """A check that raises does not let the exhibit pass."""
    try:
        return check(*args)
    except Exception:
        return False


def _falls(held: Bench, kind: Any) -> bool:
    try:
        losses = instruments._descent(held, kind.apply)
        right = instruments._descent(held, held.right.cls.apply)  # type: ignore[attr-defined]
    except Exception:
        return False
    fell = losses[-1] < losses[0] and math.isfinite(losses[-1])
    return fell if right[-1] < right[0] else math.isfinite(losses[-1])


def _summed(kind: Any, job: Any, one: bool) -> bool:
    """Central differences of the sum of the output, at one element of each input or at all."""

    def total(x: Any) -> Tensor:
        return torch.stack([b.sum() for b in outputs(kind.apply(*x, *job["extras"]))]).sum()

    x = again(job["inputs"])
    grads = torch.autograd.grad(total(x), leaves(x), allow_unused=True)
    gen = torch.Generator().manual_seed(7)
    for n, (leaf, d) in enumerate(zip(leaves(x), grads)):
        d = torch.zeros_like(leaf) if d is None else d
        listed = range(leaf.numel())
        if one:
            listed = range(int(torch.randint(leaf.numel(), (), generator=gen)), leaf.numel())[:1]
        for i in list(listed)[:60]:
            sides = []
            for h in (H, -H):
                moved = again(job["inputs"])
                with torch.no_grad():
                    leaves(moved)[n].view(-1)[i] += h
                sides.append(total(moved).item())
            slope = (sides[0] - sides[1]) / (2 * H)
            if abs(slope - d.reshape(-1)[i].item()) > (1e-2 if one else 1e-4) * (1 + abs(slope)):
                return False
    return True


def _one_row(held: Bench, kind: Any) -> bool:
    """The first row alone, where all inputs have the same number of rows; else the smallest case."""
    job, _ = held.truth(held.cases[0])
    wrt = leaves(job["inputs"])
    if not all(x.dim() > 1 and x.shape[0] == wrt[0].shape[0] for x in wrt):
        return False
    one = [
        x[:1].detach().clone().requires_grad_(x.requires_grad)
        if isinstance(x, Tensor) and x.dim() and x.shape[0] == wrt[0].shape[0]
        else x
        for x in job["inputs"]
    ]
    sides = []
    gen = torch.Generator().manual_seed(3)
    g = None
    for op in (kind.apply, held.right.cls.apply):  # type: ignore[attr-defined]
        x = again(one)
        y = outputs(op(*x, *job["extras"]))
        g = g or tuple(torch.randn(b.shape, generator=gen, dtype=b.dtype) for b in y)
        sides.append(torch.autograd.grad(y, leaves(x), g, allow_unused=True))
    return all(
        (a is None and b is None) or (a is not None and b is not None and judge._error(a, b) < 1e-5)
        for a, b in zip(*sides)
    )


def _loops(held: Bench, kind: Any) -> list[tuple[str, bool]]:
    case = held.cases[0]
    mine, true = held.measured(kind, case), held.truth(case)[1]
    if mine["error"]:
        return []
    losses = mine["losses"]
    third = max(1, len(losses) // 3)
    falls = sum(losses[-third:]) < sum(losses[:third]) and all(map(math.isfinite, losses))
    first = leaves_at(mine, true, case.rtol) != 1
    after = mine["grads"][0].values()
    present = all(g is not None and bool(g.abs().max() > 0) for g in after)
    return [
        ("loss", falls),
        ("first_step", first),
        ("gradients", present),
        ("one_setting", leaves_at(mine, true, case.rtol) == 0),
    ]
