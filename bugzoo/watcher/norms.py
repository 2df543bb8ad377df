"""Norms of all gradients of a step: one fused call for each device and type, read with the samples.

On a CPU the norm of a large gradient costs as much as the optimizer's own pass over it. Between the
steps that are looked at closely, a sixteenth of it stands for the whole, another one each step:

    norm(g) ~ sqrt(16) norm(g[k n/16 : (k+1) n/16])

and the whole is read at once where that is zero, not finite, or far from the last norm of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bugzoo.watcher import samples
from bugzoo.watcher.roster import Account

LARGE = 1 << 18  # elements from which a part is read
PARTS = 16
NEAR = 4.0  # times the last norm of the whole, either way, within which a part is believed

Known = samples.Handle | float


class Norms:
    def __init__(self, numbers: samples.Samples):
        self._numbers = numbers
        self._whole: dict[Account, float] = {}
        self.doubt = False  # an output was not finite: the next time all is read

    def of(
        self, accounts: Sequence[Account], grads: Sequence[Tensor], turn: int | None
    ) -> list[Known]:
        """A number or a handle for each gradient; `turn` says which part, None that all is read."""
        if self.doubt:
            turn, self.doubt = None, False
        found: list[Known] = [0.0] * len(grads)
        kinds: dict[Any, list[int]] = {}
        for n, g in enumerate(grads):
            if large(g):
                found[n] = self._large(accounts[n], g.detach(), turn)
            else:
                kinds.setdefault((g.device, g.dtype, g.layout), []).append(n)
        for (_, dtype, layout), which in kinds.items():
            group = [grads[n].detach() for n in which]
            if layout is not torch.strided:
                group = [g.coalesce().values() if g.is_sparse else g.values() for g in group]
            norms = torch.stack(torch._foreach_norm(group, 2, wide(dtype)))
            first, _ = self._numbers.keep(norms)
            for k, n in enumerate(which, first):
                found[n] = (k, k + 1)
        return found

    def _large(self, account: Account, g: Tensor, turn: int | None) -> float:
        last = self._whole.get(account)
        if turn is not None and last is not None:
            size = g.numel() // PARTS
            part = g.as_strided((size,), (1,), g.storage_offset() + turn % PARTS * size)
            guess = math.sqrt(g.numel() / size) * _norm(part)
            if last / NEAR < guess < last * NEAR:
                return guess
        self._whole[account] = _norm(g)
        return self._whole[account]

    def read(self, known: Known) -> float:
        return known if isinstance(known, float) else self._numbers[known][0]


def large(g: Tensor) -> bool:
    return (
        g.device.type == "cpu"
        and g.layout is torch.strided
        and g.numel() >= LARGE
        and samples.dense(g)
    )


def _norm(g: Tensor) -> float:
    return float(torch._foreach_norm([g], 2, wide(g.dtype))[0])


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums of this one are made."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
