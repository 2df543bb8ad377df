"""Parameters that were equal and should have stayed so: replicas of a model that drift apart.

Copies that start equal are common: layers of an encoder, a teacher, an ensemble. Replicas are told by
what they do: trained, changed, and still equal to the last bit; or given one gradient by hand.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from bugzoo.watcher import samples
from bugzoo.watcher.log import Log
from bugzoo.watcher.roster import Roster

TOGETHER = 2  # steps that a pair must change together to be called replicas


class Pair:
    def __init__(self, first: str, second: str, a: Any, b: Any):
        self.names = (first, second)
        self.accounts = (a, b)
        self.models = (a.model, b.model)
        self.together = 0
        self.synced = False  # somebody wrote the same gradient into both
        self.apart = False
        self.value = samples.pick(a.ref()).clone()


class Replicas:
    def __init__(self, roster: Roster, earlier: Replicas | None = None):
        self.models = len(roster.models)
        self.pairs: list[Pair] = list(earlier.pairs) if earlier is not None else []
        known = {pair.accounts for pair in self.pairs}
        alike: dict[Any, list[tuple[str, Tensor]]] = defaultdict(list)
        for name, p, _ in roster.named():
            if p.is_floating_point() and p.layout is torch.strided and p.requires_grad:
                s = samples.pick(p)
                if len(set(s.tolist())) > 2:  # zeros and ones are equal everywhere
                    alike[(tuple(p.shape), p.dtype, tuple(s.tolist()))].append((name, p))
        for same in alike.values():
            for (first, p), (second, q) in zip(same, same[1:]):
                if p.data_ptr() != q.data_ptr() and torch.equal(p, q):
                    a, b = roster.lookup(p), roster.lookup(q)
                    if a is not None and b is not None and (a, b) not in known:
                        self.pairs.append(Pair(first, second, a, b))

    def look(self, step: int, log: Log, handmade: Any) -> None:
        """After a step: which pairs moved together, which came apart? `handmade`: gradients set by hand."""
        moved: set[tuple[int, int]] = set()
        parted: list[Pair] = []
        for pair in self.pairs:
            p, q = (a.ref() for a in pair.accounts)
            if pair.apart or p is None or q is None:
                continue
            a, b = (handmade.get(account, ()) for account in pair.accounts)
            pair.synced |= any(sample in b for sample in a)
            now, other = samples.pick(p), samples.pick(q)
            if not torch.equal(now, other):
                parted.append(pair)
            elif not torch.equal(now, pair.value):
                pair.together += 1
                moved.add(pair.models)
                pair.value = now.clone()
        for pair in parted:
            a, b = (pair_value(pair, k) for k in (0, 1))
            if a is None or b is None:
                continue
            both = not torch.equal(a, pair.value) and not torch.equal(b, pair.value)
            if not both or not all(x.owned or x.by_hand for x in pair.accounts):
                continue  # one of them is stepped first, or is not trained at all, as a worker is
            pair.apart = True
            if (
                pair.synced
                or pair.together >= TOGETHER
                or (pair.models in moved and pair.models[0] != pair.models[1])
            ):
                gap = float((a - b).norm() / a.norm())
                log.report(
                    ("parted",), step, [" and ".join(pair.names)],
                    channel="trajectory",
                    what="replicas drift apart: they started equal, the others still move together",
                    cause=f"relative distance {gap:.3g} now; their gradients or updates differ",
                )  # fmt: skip


def pair_value(pair: Pair, k: int) -> Tensor | None:
    p = pair.accounts[k].ref()
    return samples.pick(p) if p is not None else None
