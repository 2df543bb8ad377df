"""Contributions that meet: of two players, of two uses of one weight, of two replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from bugzoo.auditor import graph
from bugzoo.auditor.ledger import Account, Ledger, Views, Weighing, independent
from bugzoo.auditor.sketch import solve
from bugzoo.finding import Finding


def findings(ledger: Ledger, views: Views) -> Iterator[Finding]:
    """One finding for each way in which they get mixed up."""
    found = list(_tied(ledger, views))
    if found:
        yield from found
    if tied(ledger):
        return  # all else follows from it
    yield from _other_player(ledger, views)
    yield from _apart(views)
    yield from _drift(views)
    yield from _scaled_twice(views)


def tied(ledger: Ledger) -> list[tuple[Tensor, Tensor]]:
    """Pairs of parameters of optimizers that are the same memory."""
    met: dict[tuple[object, ...], Tensor] = {}
    found = []
    for p in {id(p): p for ps in ledger.params.values() for p in ps}.values():
        if not is_lazy(p) and p.layout == torch.strided and p.numel():
            q = met.setdefault((p.data_ptr(), p.shape, p.stride()), p)
            if q is not p:
                found.append((q, p))
    return found


def _tied(ledger: Ledger, views: Views) -> Iterator[Finding]:
    names = {id(a.p): a.name for a, _ in views}
    for p, q in tied(ledger)[:1]:
        rule = [
            g for o in ledger.session_optimizers for g in o.param_groups
            if any(x is p or x is q for x in g["params"])
        ]  # fmt: skip
        kinds = {type(o).__name__ for o in ledger.session_optimizers}
        if kinds == {"SGD"} and not any(g["momentum"] or g["weight_decay"] for g in rule):
            return  # the sum of two plain steps is the step along the sum
        yield Finding(
            "trajectory", "two parameters are the same memory, and each is stepped by itself",
            " and ".join(names.get(id(x)) or graph.shape(x) for x in (p, q)), step=1,
            cause="they were tied through .data: momentum, decay and moments count twice; tie the "
            "parameters themselves, a.weight = b.weight",
        )  # fmt: skip


def _other_player(ledger: Ledger, views: Views) -> Iterator[Finding]:
    """A step uses what the backward of another optimizer's step has left in its parameters."""
    steps = ledger.all_steps
    for a, weighings in views:
        hits = []
        for w in weighings:
            if w.empty or w.residual > 1e-3 or a.p.numel() < 2:
                continue
            used = [e for e, x in w.new if abs(x) > 1e-6]
            if len(used) < 2:
                continue
            first, last = used[0], used[-1]
            between = steps[first.after : last.after]
            others = {o for o in between if o != w.optimizer}
            spent = {
                o for b in ledger.accounts.values() for e in b.entries if e.call == first.call
                for o in e.by if o in others
            }  # fmt: skip
            if spent and first.signature != last.signature and independent(first, last):
                hits.append((w, first))
        if len(hits) >= 2:
            w, e = hits[0]
            yield Finding(
                "trajectory", "a step uses a gradient that another optimizer's loss has left behind", a.name,
                step=w.step, line=e.line,
                cause="the other loss also reaches these parameters: detach() what it is given, or clear "
                "the gradients before this loss's own backward()",
            )  # fmt: skip
            return


def _apart(views: Views) -> Iterator[Finding]:
    """One backward reaches a parameter through two aliases, and one of the two gradients is lost."""
    for a, weighings in views:
        hits = []
        for w in weighings:
            if w.empty or w.residual > 1e-3:
                continue
            calls = Counter(e.call for e, _ in w.new)
            lost = [e for e, x in w.new if calls[e.call] > 1 and abs(x) < 1e-6 and e.norm > 0]
            used = {e.call for e, x in w.new if abs(x) > 1e-6}
            hits += [(w, e) for e in lost if e.call in used]
        if len(hits) >= 2:
            w, e = hits[0]
            yield Finding(
                "trajectory", "a shared parameter gets two gradients in one backward, and one is lost", a.name,
                1.0, 2.0, step=w.step, line=e.line,
                cause="each use assigns its gradient where it should add it",
            )  # fmt: skip
            return


def _drift(views: Views) -> Iterator[Finding]:
    """Two parameters start equal and share gradients, and yet they part."""
    twins: dict[tuple[object, ...], list[Account]] = {}
    for a, weighings in views:
        if weighings and a.first is not None and a.p.numel() > 1 and bool((a.first != 0).any()):
            twins.setdefault((tuple(a.p.shape), tuple(a.first.tolist())), []).append(a)
    seen = {id(a): w for a, w in views}
    for same in twins.values():
        for a, b in zip(same, same[1:], strict=False):
            for w, v in zip(seen[id(a)], seen[id(b)], strict=False):
                if w.optimizer == v.optimizer or not w.new or not v.new or w.empty or v.empty:
                    continue
                if _mixes(w, v) and _mixes(v, w) and w.target is not None and v.target is not None:
                    gap = float((w.target - v.target).norm() / (w.target.norm() + v.target.norm()))
                    if gap > 1e-6:
                        yield Finding(
                            "trajectory", "two replicas share their gradients, and step along different ones",
                            f"{a.name}, {b.name}", float(w.target.norm()), float(v.target.norm()), gap,
                            step=w.step, line=w.new[-1][0].line,
                            cause="one of them is clipped, scaled or averaged and the other is not",
                        )  # fmt: skip
                        return


def _mixes(w: Weighing, v: Weighing) -> bool:
    """What the step `w` sees is made of its own contributions and of those of `v`'s parameter."""
    if w.target is None or w.residual < 1e-3:
        return False
    own = [e.sketch for e, _ in w.new]
    weights, left = solve([*own, *(e.sketch for e, _ in v.new)], w.target)
    return left < 1e-6 and any(abs(x) > 1e-6 for x in weights[len(own) :])


def _scaled_twice(views: Views) -> Iterator[Finding]:
    """All gradients of a step carry one factor, and one of them carries its square."""
    steps: dict[tuple[int, int], list[tuple[float, Account, Weighing]]] = {}
    for a, weighings in views:
        for w in weighings:
            used = [x for _, x in w.new if abs(x) > 1e-6]
            if used and w.residual < 1e-3 and a.p.numel() > 2:
                steps.setdefault((w.step, w.optimizer), []).append((used[-1], a, w))
    hits: list[tuple[float, float, Account, Weighing]] = []
    for rows in steps.values():
        common = sorted(f for f, _, _ in rows)[len(rows) // 2]
        odd = [r for r in rows if abs(r[0] - common) > 1e-3 * common]
        if common < 0.99 and odd and all(abs(f - common**2) < 1e-4 * common**2 for f, _, _ in odd):
            hits += [(f, common, a, w) for f, a, w in odd]
    if len({w.step for _, _, _, w in hits}) >= 2:
        factor, common, a, w = hits[0]
        yield Finding(
            "trajectory", "the gradient of one parameter is scaled twice, all others once", a.name,
            factor, common, step=w.step, line=w.new[-1][0].line,
            cause="it is met twice in the list that is clipped: a shared weight counts once",
        )  # fmt: skip
