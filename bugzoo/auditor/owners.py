"""Who moves, and who is reached: optimizers and parameters that do not belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bugzoo.auditor import graph
from bugzoo.auditor.ledger import Ledger, Views, where
from bugzoo.finding import Finding


def findings(ledger: Ledger, names: dict[int, str], views: Views) -> Iterator[Finding]:
    """A loss that is cut off explains the rest; else each of them on its own."""
    cut = list(_cut(ledger))
    yield from cut
    if not cut:
        yield from _starved(ledger, names)
        yield from stale(ledger, names)
        yield from _nothing_moves(ledger, views)


def _cut(ledger: Ledger) -> Iterator[Finding]:
    if len(ledger.unreached) >= 2:
        call = ledger.unreached[0]
        yield Finding(
            "trajectory", f"{len(ledger.unreached)} backward passes reach no parameter at all",
            step=call.after + 1, line=call.line,
            cause="the loss is cut from the graph: it was rebuilt from a number, or detached",
        )  # fmt: skip


def stale(ledger: Ledger, names: dict[int, str]) -> Iterator[Finding]:
    """The optimizer holds parameters of a model that is no longer there."""
    if not ledger.params or -1 in ledger.params:
        return
    owned = {id(p): p for ps in ledger.params.values() for p in ps}
    lost = [p for key, p in owned.items() if key not in names and not ledger.fed(p)]
    alone = [
        a for key, a in ledger.accounts.items()
        if key not in owned and key in names and not a.moved and a.entries
    ]  # fmt: skip
    idle = [p for key, p in owned.items() if not ledger.fed(p)]
    if not alone:
        return
    shapes = Counter(tuple(p.shape) for p in idle)
    twins = len(idle) == len(owned) and not Counter(tuple(a.p.shape) for a in alone) - shapes
    if lost or (twins and names):
        yield Finding(
            "trajectory", f"{len(alone)} parameters get gradients and never move: they are in no optimizer",
            where(alone[0], len(alone)), step=1 + min(e.after for a in alone for e in a.entries[:1]),
            line=alone[0].entries[0].line,
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
                "trajectory", "gradients arrive and no parameter ever moves", where(given[0], len(given)),
                step=1, line=given[0].entries[0].line,
                cause="the update gives a new tensor to a name instead of writing into the parameter",
            )  # fmt: skip


def _starved(ledger: Ledger, names: dict[int, str]) -> Iterator[Finding]:
    """An optimizer that steps and steps, and no loss ever reaches any of its parameters."""
    for number, owned in ledger.params.items():
        steps = ledger.all_steps.count(number)
        if steps < 3 or number < 0 or not owned or any(ledger.fed(p) for p in owned):
            continue
        if len(ledger.params) < 2 or any(not p.requires_grad for p in owned):
            continue
        yield Finding(
            "trajectory", f"{len(owned)} parameters of one optimizer never get a gradient in {steps} steps",
            names.get(id(owned[0])) or graph.shape(owned[0]),
            0.0, None, step=1,
            cause="their loss is cut off from them: what they made was detached, or made under no_grad",
        )  # fmt: skip
