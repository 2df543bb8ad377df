"""What the ledger tells: which contributions were spent twice, never, or by the wrong step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bugzoo.auditor import graph
from bugzoo.auditor.ledger import Account, Contribution, Ledger, Weighing, solve
from bugzoo.finding import Finding, Note

Views = list[tuple[Account, list[Weighing]]]


def findings(ledger: Ledger, names: dict[int, str]) -> Iterator[Finding]:
    """One finding for each way in which the books do not balance."""
    views: Views = []
    for key, a in ledger.accounts.items():
        a.name = names.get(key) or a.name or f"a {graph.shape(a.p)} tensor"
        kept = [w for w in ledger.weighings.get(key, []) if w.optimizer not in ledger.closures]
        views.append((a, kept))
    yield from _hooks(ledger)
    cut = list(_cut(ledger))
    yield from cut
    yield from _twice(ledger)
    yield from _not_finite(ledger)
    yield from _again(views)
    yield from _cleared(views)
    yield from _partly(views)
    yield from _uneven(views)
    yield from _other_player(ledger, views)
    yield from _late(ledger)
    yield from _apart(views)
    yield from _drift(views)
    yield from _moved_between(views)
    if not cut:
        yield from _starved(ledger)
        yield from _stale(ledger, names)
        yield from _nothing_moves(ledger, views)


def notes(ledger: Ledger) -> Iterator[Note]:
    """What depends on intent, with the numbers."""
    idle = []
    for key, a in ledger.accounts.items():
        for w in ledger.weighings.get(key, []):
            if w.empty and not w.fresh and a.p.grad is not None and w.old:
                idle.append((a.name, w.step))
    if idle:
        name, step = idle[0]
        yield Note(
            "zeros", f"{name} has a gradient of zeros at step {step} instead of none: momentum and decay "
            "go on moving it",
        )  # fmt: skip


def _hooks(ledger: Ledger) -> Iterator[Finding]:
    if ledger.writes:
        line, words = ledger.writes[0]
        yield Finding(
            "side_effect", "a hook writes into the gradient that it was only shown", words, line=line,
            cause="an in-place operation in a hook that returns nothing; what lies below gets the "
            "changed gradient", variation="hook",
        )  # fmt: skip


def _cut(ledger: Ledger) -> Iterator[Finding]:
    if len(ledger.unreached) >= 2:
        call = ledger.unreached[0]
        yield Finding(
            "trajectory", f"{len(ledger.unreached)} backward passes reach no parameter at all",
            step=call.after + 1, line=call.line,
            cause="the loss is cut from the graph: it was rebuilt from a number, or detached",
        )  # fmt: skip


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
                "trajectory", what, _where(a, total), float(len([x for x in w.weights if abs(x) > 1e-6])),
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
                f"{len(steps)} steps", _where(a, len(steps[step])), 0.0, w.new[-1][0].norm, step=step,
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
            if len(alike) >= 2 and all(_independent(e, last) for e, _ in alike[:-1]):
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
        _where(a, len({id(r[0]) for r in rows})), float(kept), float(len(alike)), step=w.step,
        line=lost.line, cause="the gradients are cleared in between; nobody has looked at them",
    )  # fmt: skip


def _uneven(views: Views) -> Iterator[Finding]:
    """Of the micro-batches of one window the earlier ones weigh less: something is done too often."""
    rows = []
    for a, w, alike in _windows(views):
        weights = [x for _, x in alike]
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
        _where(a, len({id(r[0]) for r in rows})), alike[0][1], alike[-1][1], step=w.step, line=alike[0][0].line,
        cause="the sum is unscaled or clipped after each backward, so the first ones are scaled again "
        "and again; yours is the weight of the first, true that of the last",
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
            if spent and first.signature != last.signature and _independent(first, last):
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


def _independent(a: Contribution, b: Contribution) -> bool:
    """Neither is a multiple of the other: their weights can be told apart."""
    size = float(a.sketch.norm() * b.sketch.norm())
    return size > 0 and abs(float(a.sketch @ b.sketch)) < 0.999 * size


def _late(ledger: Ledger) -> Iterator[Finding]:
    if ledger.late:
        key, words = next(iter(ledger.late.items()))
        yield Finding(
            "trajectory", "the gradient is changed after the step has used it, and then cleared",
            f"{ledger.accounts[key].name}: {words}",
            cause="a clip or a scaling that comes after step() has no effect",
        )  # fmt: skip


def _stale(ledger: Ledger, names: dict[int, str]) -> Iterator[Finding]:
    """The optimizer holds parameters of a model that is no longer there."""
    if not ledger.params or -1 in ledger.params:
        return
    owned = {id(p): p for ps in ledger.params.values() for p in ps}
    lost = [p for key, p in owned.items() if key not in names and not ledger.got(p)]
    alone = [
        a for key, a in ledger.accounts.items()
        if key not in owned and key in names and not a.moved and a.entries
    ]  # fmt: skip
    idle = [p for key, p in owned.items() if not ledger.got(p)]
    if not alone:
        return
    shapes = Counter(tuple(p.shape) for p in idle)
    twins = len(idle) == len(owned) and not Counter(tuple(a.p.shape) for a in alone) - shapes
    if lost or (twins and names):
        yield Finding(
            "trajectory", f"{len(alone)} parameters get gradients and never move: they are in no optimizer",
            _where(alone[0], len(alone)), step=1,
            cause="the optimizer was built before the model or a layer was replaced: it holds the "
            f"old parameters ({len(lost) or len(idle)} of them)",
        )  # fmt: skip


def _nothing_moves(ledger: Ledger, views: Views) -> Iterator[Finding]:
    """Gradients arrive, step after step, and no parameter changes at all."""
    given = [
        a for a in ledger.accounts.values() if a.entries and any(e.norm > 0 for e in a.entries)
    ]
    rates = [g["lr"] for o in ledger.session_optimizers for g in o.param_groups if "lr" in g]
    if given and not any(a.moved for a in given) and (not rates or max(map(float, rates)) > 0):
        used = any(not w.empty for _, ws in views for w in ws) or ledger.read_by_user
        if len({e.call for a in given for e in a.entries}) >= 3 and used:
            yield Finding(
                "trajectory", "gradients arrive and no parameter ever moves", _where(given[0], len(given)),
                step=1, line=given[0].entries[0].line,
                cause="the update gives a new tensor to a name instead of writing into the parameter",
            )  # fmt: skip


def _not_finite(ledger: Ledger) -> Iterator[Finding]:
    if ledger.bad:
        key, (step, words) = min(ledger.bad.items(), key=lambda item: item[1][0])
        yield Finding(
            "value", "a step is made along a gradient that is not finite",
            f"{ledger.accounts[key].name}: {words}", step=step,
            cause="an overflow, or 0/0 in the backward, and nobody looks before step()",
        )  # fmt: skip


def _starved(ledger: Ledger) -> Iterator[Finding]:
    """An optimizer that steps and steps, and no loss ever reaches any of its parameters."""
    for number, owned in ledger.params.items():
        steps = ledger.all_steps.count(number)
        if steps < 3 or number < 0 or not owned or any(ledger.got(p) for p in owned):
            continue
        if len(ledger.params) < 2 or any(not p.requires_grad for p in owned):
            continue
        yield Finding(
            "trajectory", f"{len(owned)} parameters of one optimizer never get a gradient in {steps} steps",
            ledger.accounts[id(owned[0])].name if id(owned[0]) in ledger.accounts else graph.shape(owned[0]),
            0.0, None, step=1,
            cause="their loss is cut off from them: what they made was detached, or made under no_grad",
        )  # fmt: skip


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
                if mixes(w, v) and mixes(v, w) and w.target is not None and v.target is not None:
                    gap = float((w.target - v.target).norm() / (w.target.norm() + v.target.norm()))
                    if gap > 1e-6:
                        yield Finding(
                            "trajectory", "two replicas share their gradients, and step along different ones",
                            f"{a.name}, {b.name}", float(w.target.norm()), float(v.target.norm()), gap,
                            step=w.step, line=w.new[-1][0].line,
                            cause="one of them is clipped, scaled or averaged and the other is not",
                        )  # fmt: skip
                        return


def mixes(w: Weighing, v: Weighing) -> bool:
    """What the step `w` sees is made of its own contributions and of those of `v`'s parameter."""
    if w.target is None or w.residual < 1e-3:
        return False
    own = [e.sketch for e, _ in w.new]
    weights, left = solve([*own, *(e.sketch for e, _ in v.new)], w.target)
    return left < 1e-6 and any(abs(x) > 1e-6 for x in weights[len(own) :])


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


def _where(a: Account, count: int) -> str:
    return a.name if count <= 1 else f"{a.name} and {count - 1} more"
