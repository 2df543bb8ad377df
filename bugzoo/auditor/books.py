"""What the ledger tells: which contributions were spent twice, never, or by the wrong step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from bugzoo.auditor import owners, shared
from bugzoo.auditor.ledger import (
    Account,
    Contribution,
    Ledger,
    Views,
    Weighing,
    independent,
    where,
)
from bugzoo.finding import Finding


def findings(ledger: Ledger, names: dict[int, str]) -> Iterator[Finding]:
    """One finding for each way in which the books do not balance."""
    views = ledger.views(names)
    yield from _hooks(ledger)
    yield from _nothing(ledger, names)
    yield from _twice(ledger)
    yield from _not_finite(ledger)
    yield from _again(views)
    yield from _cleared(views)
    yield from _partly(views)
    yield from _uneven(views)
    yield from _moved_between(views)
    yield from _late(ledger)
    yield from shared.findings(ledger, views)
    yield from owners.findings(ledger, names, views)


def _hooks(ledger: Ledger) -> Iterator[Finding]:
    if ledger.writes:
        line, words = ledger.writes[0]
        yield Finding(
            "side_effect", "a hook writes into the gradient that it was only shown", words, line=line,
            cause="an in-place operation in a hook that returns nothing; what lies below gets the "
            "changed gradient", variation="hook",
        )  # fmt: skip


def _nothing(ledger: Ledger, names: dict[int, str]) -> Iterator[Finding]:
    """Steps, and no parameter of any optimizer was ever given a gradient."""
    held = [p for params in ledger.params.values() for p in params if p.requires_grad]
    if not held or any(ledger.fed(p) for p in held) or any(owners.stale(ledger, names)):
        return
    more = f" and {len(held) - 1} more" if len(held) > 1 else ""
    yield Finding(
        "trajectory", "no parameter of an optimizer is ever given a gradient",
        names.get(id(held[0]), "a parameter") + more, step=1,
        cause=_replaced(ledger, held)
        or "the loss does not depend on what is trained: a detach(), .data, item() or no_grad in "
        "between, or the optimizer holds other parameters than the model uses",
    )  # fmt: skip


def _replaced(ledger: Ledger, held: list[Tensor]) -> str:
    """Do other parameters of the same shapes get the gradients?"""
    mine = {id(p) for p in held}
    others = [a for key, a in ledger.accounts.items() if key not in mine and a.entries]
    if Counter(p.shape for p in held) - Counter(a.p.shape for a in others):
        return ""
    return (
        f"the gradients (of {others[0].entries[0].line}) go to others of the same shapes: the model was "
        "copied, loaded or built anew after the optimizer was built"
    )


def _twice(ledger: Ledger) -> Iterator[Finding]:
    used = {e.call for a in ledger.accounts.values() for e in a.entries if e.spent} | {
        c for c, _ in ledger.repeated if not any(ledger.weighings.values())
    }
    found = [(c, line) for c, line in ledger.repeated if c in used]
    if len(found) >= 2:
        yield Finding(
            "trajectory", "the same loss is sent backward twice, and a step uses both", line=found[0][1],
            cause="backward() is called twice on one loss: its gradient counts double",
        )  # fmt: skip


def _again(views: Views) -> Iterator[Finding]:
    """A contribution that a step has used is used by a later step of the same optimizer."""
    hit: list[tuple[Account, Weighing, Contribution]] = []
    stale: list[tuple[Account, Weighing, Contribution]] = []
    for a, weighings in views:
        for w in weighings:
            if w.empty or w.residual > 1e-3:
                continue
            new = [x for e, x in w.new if abs(x) > 1e-6]
            for e, x in w.old:
                before = [
                    s for s, o in zip(e.spent, e.by, strict=True) if o == w.optimizer and s < w.step
                ]
                if not before or abs(x) < 1e-6:
                    continue
                if new and abs(x - new[-1]) < 1e-3 * abs(new[-1]):
                    hit.append((a, w, e))
                elif not new and not w.fresh and abs(x - 1) < 1e-3:
                    stale.append((a, w, e))
    for rows, what, cause in (
        (hit, "a gradient that a step has used is added to the next one's",
         "zero_grad() is missing, or does not reach this parameter"),
        (stale, "a step uses the gradient of an earlier step again",
         "step() is called without a new backward()"),
    ):  # fmt: skip
        if len({(w.step, w.optimizer) for _, w, _ in rows}) >= 2 and _counts(rows, views):
            a, w, e = min(rows, key=lambda r: r[1].step)
            total = len({id(r[0]) for r in rows})
            yield Finding(
                "trajectory", what, where(a, total), float(len([x for x in w.weights if abs(x) > 1e-6])),
                float(min(w.fresh, len(w.weights))) or None, step=w.step, line=e.line,
                cause=f"{cause}; yours and true count the backward passes in this step's gradient",
            )  # fmt: skip
            return


def _counts(rows: list[tuple[Account, Weighing, Contribution]], views: Views) -> bool:
    """For two elements or more; a single number may repeat by chance."""
    return any(r[0].p.numel() > 1 for r in rows) or len(rows) >= 3


def _cleared(views: Views) -> Iterator[Finding]:
    """Every step of an optimizer finds nothing, although there were backward passes for it."""
    by: dict[int, list[tuple[Account, Weighing]]] = {}
    for a, weighings in views:
        for w in weighings:
            by.setdefault(w.optimizer, []).append((a, w))
    for rows in by.values():
        steps: dict[int, list[tuple[Account, Weighing]]] = {}
        for a, w in rows:
            steps.setdefault(w.step, []).append((a, w))
        bad = []
        for step, there in sorted(steps.items()):
            given = [(a, w) for a, w in there if w.fresh and any(e.norm > 0 for e, _ in w.new)]
            if given and all(w.empty for _, w in given):
                bad.append((step, given[0]))
        if len(bad) >= 2 and len(bad) >= len(steps) - 1:
            step, (a, w) = bad[0]
            yield Finding(
                "trajectory", f"no gradient is left when step() is called, in {len(bad)} of "
                f"{len(steps)} steps", where(a, len(steps[step])), 0.0, w.new[-1][0].norm, step=step,
                line=w.new[-1][0].line,
                cause="the gradients are cleared between backward() and step(), or step() comes first",
            )  # fmt: skip
            return


def _windows(views: Views) -> Iterator[tuple[Account, Weighing, list[tuple[Contribution, float]]]]:
    """What came since the last step from backward passes of one kind at one point, two or more."""
    for a, weighings in views:
        for w in weighings:
            if w.empty or w.residual > 1e-3 or a.p.numel() < 2 or not w.new:
                continue
            last = w.new[-1][0]
            alike = [
                (e, x)
                for e, x in w.new
                if e.signature == last.signature and e.version == last.version
            ]
            if len(alike) >= 2 and all(independent(e, last) for e, _ in alike[:-1]):
                yield a, w, alike


def _partly(views: Views) -> Iterator[Finding]:
    """Of the micro-batches of one window some are cleared, unread, before the step."""
    rows = [
        (a, w, alike)
        for a, w, alike in _windows(views)
        if any(abs(x) < 1e-6 and e.norm > 0 and not e.read and not e.spent for e, x in alike)
        and abs(alike[-1][1]) > 1e-6
    ]
    if not rows:
        return
    a, w, alike = min(rows, key=lambda r: r[1].step)
    kept = sum(abs(x) > 1e-6 for _, x in alike)
    lost = next(e for e, x in alike if abs(x) < 1e-6)
    yield Finding(
        "trajectory", f"of {len(alike)} backward passes for one step {len(alike) - kept} are thrown away",
        where(a, len({id(r[0]) for r in rows})), float(kept), float(len(alike)), step=w.step,
        line=lost.line, cause="the gradients are cleared in between; nobody has looked at them",
    )  # fmt: skip


def _uneven(views: Views) -> Iterator[Finding]:
    """Of the micro-batches of one window the earlier ones weigh less: something is done too often."""
    rows = []
    for a, w, alike in _windows(views):
        weights = [x for _, x in alike]
        if any(e.alone for e, _ in alike[1:]):
            continue  # cleared in between: the user has put them together
        if min(weights) <= 1e-12 or not all(
            x <= y * (1 + 1e-6) for x, y in zip(weights, weights[1:], strict=False)
        ):
            continue
        if weights[0] < 0.99 * weights[-1]:
            rows.append((a, w, alike))
    if len({r[1].step for r in rows}) < 2 and len(rows) < 3:
        return
    a, w, alike = min(rows, key=lambda r: r[1].step)
    yield Finding(
        "trajectory", f"the {len(alike)} micro-batches of one step weigh unequally",
        where(a, len({id(r[0]) for r in rows})), alike[0][1], alike[-1][1], step=w.step, line=alike[0][0].line,
        cause="the sum is unscaled or clipped after each backward, so the first ones are scaled again "
        "and again; yours is the weight of the first, true that of the last",
    )  # fmt: skip


def _late(ledger: Ledger) -> Iterator[Finding]:
    if ledger.late:
        key, (step, words) = next(iter(ledger.late.items()))
        yield Finding(
            "trajectory", "the gradient is changed after the step has used it, and then cleared",
            f"{ledger.accounts[key].name}: {words}", step=step,
            cause="a clip or a scaling that comes after step() has no effect",
        )  # fmt: skip


def _not_finite(ledger: Ledger) -> Iterator[Finding]:
    if ledger.bad:
        key, (step, words) = min(ledger.bad.items(), key=lambda item: item[1][0])
        yield Finding(
            "value", "a step is made along a gradient that is not finite",
            f"{ledger.accounts[key].name}: {words}", step=step,
            cause="an overflow, or 0/0 in the backward, and nobody looks before step()",
        )  # fmt: skip


def _moved_between(views: Views) -> Iterator[Finding]:
    """The micro-batches of one step are computed at different parameters."""
    for a, weighings in views:
        hits = []
        for w in weighings:
            if w.empty or w.residual > 1e-3 or a.p.numel() < 2:
                continue
            used = [e for e, x in w.new if abs(x) > 1e-6]
            if (
                len(used) >= 3
                and len({e.signature for e in used}) == 1
                and len({e.version for e in used}) == len(used)
            ):
                hits.append((w, used))
        if len(hits) >= 2:
            w, used = hits[0]
            yield Finding(
                "trajectory", f"parameters are written between the {len(used)} backward passes of one step",
                a.name, step=w.step, line=used[0].line,
                cause="what belongs to the step (decay, clamp, update) is done for every micro-batch",
            )  # fmt: skip
            return
