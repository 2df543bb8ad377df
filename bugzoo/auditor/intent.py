"""What depends on intent: numbers for whoever knows what was meant, never findings."""

from __future__ import annotations

from collections.abc import Iterator

from bugzoo.auditor.ledger import Account, Ledger, Views, Weighing, where
from bugzoo.finding import Note

FEW = 3  # steps in which a tensor gets a gradient that nobody uses


def notes(ledger: Ledger, names: dict[int, str]) -> Iterator[Note]:
    """Sums of micro-batches, scales, idle and left-over parameters, zeros in place of none."""
    views = ledger.views(names)
    yield from _windows(views)
    yield from _scales(views)
    yield from _idle(ledger, names)
    yield from _zeros(ledger, names)


def _windows(views: Views) -> Iterator[Note]:
    """k micro-batches against one: the sum, and how large it is beside a single one.

    A loss that is divided, or multiplied, says that accumulation is meant; so does one that is a sum.
    """
    for a, weighings in views:
        for w in weighings:
            used = [e for e, x in w.new if abs(x) > 1e-6]
            if w.residual > 1e-3 or len(used) < 2 or a.p.numel() < 2:
                continue
            if len({e.own for e in used}) > 1:
                lines = ", ".join(dict.fromkeys(e.line for e in used))
                yield Note(
                    "intent", f"step {w.step} spends {len(used)} backward passes ({lines}), and parameters "
                    "were written between them: the sum of gradients at several points, right if that is meant",
                )  # fmt: skip
                return
            if len({e.signature for e in used}) > 1 or w.target is None:
                continue
            if used[0].weighted or used[0].signature[:1] == ("SumBackward0",):
                continue
            mean = sum(e.norm for e in used) / len(used)
            yield Note(
                "intent", f"step {w.step} uses the sum of {len(used)} backward passes of one kind, each of "
                f"norm {mean:.4g} for {a.name}: whether each loss was divided by their number, or weighted "
                "by its rows, is yours to know",
            )  # fmt: skip
            return


def _scales(views: Views) -> Iterator[Note]:
    """Parameters of one step whose gradients were multiplied by different factors."""
    steps: dict[tuple[int, int], list[tuple[float, Account]]] = {}
    for a, weighings in views:
        for w in weighings:
            factor = _factor(w)
            if factor is not None and a.p.numel() > 1:
                steps.setdefault((w.step, w.optimizer), []).append((factor, a))
    for (step, _), rows in steps.items():
        low, high = min(rows, key=lambda r: r[0]), max(rows, key=lambda r: r[0])
        if low[0] < 0.99 * high[0]:
            yield Note(
                "intent", f"step {step} uses {low[0]:.4g} times the gradient of {low[1].name} and "
                f"{high[0]:.4g} times that of {high[1].name}: scaled or clipped apart",
            )  # fmt: skip
            return


def _factor(w: Weighing) -> float | None:
    used = [x for _, x in w.new if abs(x) > 1e-6]
    return used[-1] if used and w.residual < 1e-3 else None


def _idle(ledger: Ledger, names: dict[int, str]) -> Iterator[Note]:
    owned = {id(p): p for ps in ledger.params.values() for p in ps}
    never = [
        names.get(k, "a tensor") for k, p in owned.items() if p.requires_grad and not ledger.fed(p)
    ]
    if never:
        more = f" and {len(never) - 1} more" if len(never) > 1 else ""
        yield Note(
            "idle",
            f"{never[0]}{more} in an optimizer: never given a gradient in the steps observed",
        )
    left = [
        a
        for k, a in ledger.accounts.items()
        if k not in owned and k in names and a.entries and not a.moved
    ]
    waiting = {
        id(p): p for o in ledger.session_optimizers for g in o.param_groups for p in g["params"]
    }
    given = [
        a for k, a in ledger.accounts.items()
        if k not in owned | waiting.keys() and k not in names and k not in ledger.asked
        and not a.moved and a.p.requires_grad and len({e.after for e in a.entries}) >= FEW
        and not any(e.read or e.spent for e in a.entries)
    ]  # fmt: skip
    if given and owned and not ledger.read_by_user:
        yield Note(
            "idle", f"{where(given[0], len(given))} gets gradients, is no parameter of a module and in no "
            "optimizer: it adds them up and never moves",
        )  # fmt: skip
    for there, group in (
        ("in an optimizer that never steps", [a for a in left if id(a.p) in waiting]),
        ("in no optimizer", [a for a in left if id(a.p) not in waiting]),
    ):
        if group and owned:
            yield Note(
                "idle", f"{where(group[0], len(group))} {there}: given gradients, and left as it is"
            )


def _zeros(ledger: Ledger, names: dict[int, str]) -> Iterator[Note]:
    for key, a in ledger.accounts.items():
        for w in ledger.weighings.get(key, []):
            if w.empty and not w.fresh and a.p.grad is not None and w.old:
                yield Note(
                    "zeros", f"{a.name} has a gradient of zeros at step {w.step} instead of none: momentum and "
                    "decay go on moving it",
                )  # fmt: skip
                return
