"""What only the whole run shows: steps that never had a gradient, parameters that nobody trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from bugzoo.watcher.forwards import Forwards
from bugzoo.watcher.judge import Judge, Window
from bugzoo.watcher.log import NAMES, Log
from bugzoo.watcher.roster import Account, Roster, owned

IDLE = 8  # backward passes that a loss scaler may skip while it finds its scale

FEW = 3  # backward passes after which something should have moved


def conclude(log: Log, roster: Roster, judge: Judge, forwards: Forwards) -> None:
    """All verdicts on a run that is over."""
    _idle(log, roster, judge)
    held = _holders(roster)
    models = list(roster.named())
    if not roster.optimizers and not judge.windows and judge.ledger.count >= FEW:
        _unmoved(log, roster, judge, models)
    trained = any(not w.empty for ws in judge.windows.values() for w in ws)
    _ownerless(log, roster, judge, held, models)
    if trained:
        _untouched(log, roster, judge, forwards, held, models)
    judge.flow.conclude({key: roster.call(key) for key in judge.windows})
    for key, windows in judge.windows.items():
        _left_over(log, roster.call(key), windows)
        _empty(log, roster.call(key), windows, key)
        _wasted(log, roster.call(key), windows, key)


def _holders(roster: Roster) -> dict[int, list[int]]:
    """id of a parameter -> numbers of the optimizers that hold it."""
    found: dict[int, list[int]] = {}
    for n, ref in enumerate(roster.optimizers):
        optimizer = ref()
        for p in owned(optimizer) if optimizer is not None else ():
            found.setdefault(id(p), []).append(n)
    return found


def _empty(log: Log, name: str, windows: list[Window], key: int) -> None:
    """Steps that had nothing to use."""
    cleared = [w for w in windows if w.empty == "cleared"]
    if len(cleared) >= 2 or (cleared and len(cleared) == len(windows)):
        for w in cleared:
            log.report(
                ("cleared", key), w.number,
                channel="trajectory",
                what=f"gradients are cleared before {name} can use them",
                cause="zero_grad runs between backward and step; the step does nothing",
                line=cleared[0].cleared.text or cleared[0].line.text,
            )  # fmt: skip
    for why, cause in (
        ("cut", "forward passes made graphs, but no backward reached its parameters: the loss is cut "
         "from the graph, by item(), detach(), no_grad() or a new tensor"),
        ("zero", "every gradient that arrived was exactly zero"),
    ):  # fmt: skip
        found = [w for w in windows if w.empty == why]
        if why == "cut" and log.has("strays"):
            continue  # said already: its parameters are those of another model
        instead = [w for w in found if w.instead]
        if instead and len(instead) >= len(found) - 1:
            cause = (
                f"they go to others of the same shapes, {_some(instead[0].instead)}, which are in no "
                "optimizer: the model was copied, loaded or built anew after the optimizer was built"
            )
        every = len(found) == len(windows) and (why == "cut" or len(found) >= 3)
        if found and (
            every or (why == "cut" and len(found) >= 2 and 2 * len(found) >= len(windows))
        ):
            for w in found:
                log.report(
                    (why, key), w.number,
                    channel="trajectory",
                    what=f"{name} steps, and no gradient gets to any of its parameters",
                    cause=cause,
                    line=found[0].line.text,
                )  # fmt: skip


def _left_over(log: Log, name: str, windows: list[Window]) -> None:
    """Windows of k backward passes, and some that hold more: what an epoch left over is in them."""
    counts = [w.backwards for w in windows if w.called.text and not w.empty]
    more = [c for c in counts if counts[0] < c < 2 * counts[0]]
    if len(counts) >= 2 and counts[0] >= 2 and more and len({w.called.site for w in windows}) <= 2:
        shown = ", ".join(map(str, counts[:8])) + (", ..." if len(counts) > 8 else "")
        log.note(
            "epoch",
            f"the steps of {name} spend {shown} backward passes (of {windows[0].called.text}): what was "
            f"left over at the end of an epoch goes into the first step of the next one. A step after the "
            "last batch, or a zero_grad, is missing, unless that is meant",
        )


def _idle(log: Log, roster: Roster, judge: Judge) -> None:
    """Backward passes, cleared one after the other, and an optimizer that never steps."""
    for n, ref in enumerate(roster.optimizers):
        optimizer = ref()
        if optimizer is None or judge.windows.get(n):
            continue
        mine = {a for p in owned(optimizer) if (a := roster.lookup(p)) is not None}
        used = bool(
            judge.windows
        )  # where another optimizer steps, reading .grad may be a use of it
        lost = [
            t
            for t in judge.ledger.tasks.values()
            if t.lost & mine and not t.spent and not (used and t.read)
        ]
        if len(lost) >= IDLE:
            log.report(
                ("idle", n), 1,
                channel="trajectory",
                what=f"{roster.call(n)} never steps: {len(lost)} backward passes were cleared unused",
                cause="step is not reached: a condition that is never true, or every step is skipped",
                line=lost[0].line.text,
            )  # fmt: skip
            continue
        reached = [a for a in mine if a in judge.ledger.arrived and not a.written()]
        if lost or (used and reached):
            unused = f": {len(lost)} backward passes cleared unused" if lost else ""
            names = ", ".join(sorted(a.name for a in reached)[:NAMES]) or "its parameters"
            log.note(
                "idle", f"{roster.call(n)} never steps, and gradients arrive for {names}{unused}"
            )


def _unmoved(
    log: Log, roster: Roster, judge: Judge, models: list[tuple[str, Tensor, nn.Module]]
) -> None:
    """No optimizer, and nobody writes into a parameter either."""
    reached = [(n, a) for n, p, _ in models if (a := roster.lookup(p)) in judge.ledger.arrived]
    if reached and not any(a.written() for _, a in reached if a is not None):
        log.report(
            ("unmoved",), 1, [name for name, _ in reached],
            channel="trajectory",
            what=f"{judge.ledger.count} backward passes, and no parameter ever changes",
            cause="there is no optimizer, and an update by hand must write in place: p -= lr * p.grad "
            "under no_grad, where p = p - ... makes a new tensor",
        )  # fmt: skip


def _wasted(log: Log, name: str, windows: list[Window], key: int) -> None:
    """Whole backward passes that were cleared before anybody used them, window after window."""
    found = [w for w in windows if w.wasted]
    if not found:
        return
    total = sum(len(w.wasted) for w in found)
    line = found[0].cleared.text or found[0].wasted[0].line.text
    if 2 * len(found) >= len(windows) and (len(found) >= 2 or len(windows) == 1):
        for w in found:
            log.report(
                ("wasted", key), w.number,
                channel="trajectory",
                what=f"backward passes are never spent: {name} gets only what came after zero_grad",
                cause=f"{len(found[0].wasted)} of {len(found[0].wasted) + found[0].backwards} of the "
                f"first such window, called at {found[0].wasted[0].line.text}, were cleared unused",
                line=line,
            )  # fmt: skip
    else:
        log.note(
            "window",
            f"{total} of the backward passes at {line} were cleared before {name} used them",
        )


def _untouched(
    log: Log,
    roster: Roster,
    judge: Judge,
    forwards: Forwards,
    held: dict[int, list[int]],
    models: list[tuple[str, Tensor, nn.Module]],
) -> None:
    """Parameters in an optimizer that never got a gradient, or only zeros."""
    never: dict[str, list[str]] = {"cut": [], "no_grad": [], "unsent": [], "": []}
    beyond = [
        (reach, line)
        for reach, line in judge.reported
        if any(reached and reached < reach for reached in judge.trained)
    ]
    line = ""
    zero: list[str] = []
    steps = max(map(len, judge.windows.values()), default=0)
    for name, p, module in models:
        account = roster.lookup(p)
        if account is None or id(p) not in held or not p.requires_grad:
            continue
        if account in judge.ledger.arrived:
            stepped = any(judge.windows.get(n) for n in held[id(p)])
            if stepped and account not in judge.moved and account not in judge.ledger.unknown:
                zero.append(name)
        elif p.grad is None and not account.written():
            layer: Any = forwards.layers.get(id(module))
            why = ""
            if layer is not None and steps <= 2 * max(layer.untaped, layer.taped):
                why = "cut" if layer.cut else "no_grad" if not layer.taped else ""
            told = [at for reach, at in beyond if account in reach]
            if not why and told:
                why, line = "unsent", told[0].text
            never[why].append(name)
    for why, cause in (
        ("cut", "its output goes on detached"),
        (
            "unsent",
            "the loss that is reported depends on them, the one that is sent backward does not",
        ),
        (
            "no_grad",
            "its forward runs under no_grad; a checkpoint does that whose inputs need no grad",
        ),
    ):
        if never[why]:
            log.report(
                ("untouched", why), 1, never[why], times=steps,
                channel="trajectory",
                what="parameters of an optimizer take part in the forward and never get a gradient",
                cause=cause if why == "unsent" else f"{cause}; if that is meant, requires_grad_(False) "
                "says so",
                line=line if why == "unsent" else "",
            )  # fmt: skip
    if never[""]:
        log.note("unused", f"never a gradient: {_some(never[''])}")
    if zero:
        log.note("unused", f"never a gradient but zero: {_some(zero)}")


def _ownerless(
    log: Log,
    roster: Roster,
    judge: Judge,
    held: dict[int, list[int]],
    models: list[tuple[str, Tensor, nn.Module]],
) -> None:
    """Parameters that get gradients and sit in no optimizer; and the other way round."""
    inside = {id(p) for _, p, _ in models}
    alone: list[tuple[str, Account, Tensor]] = []
    training = True
    for name, p, module in models:
        account = roster.lookup(p)
        if account is None or id(p) in held or not p.requires_grad:
            continue
        if account in judge.ledger.arrived and not account.written():
            alone.append((name, account, p))
            training &= module.training
    strays = []
    for n, ref in enumerate(roster.optimizers):
        optimizer = ref()
        for p in owned(optimizer) if optimizer is not None and models else ():
            account = roster.lookup(p)
            if id(p) in inside or account is None or account in judge.ledger.unknown:
                continue
            if all(account.order < other.order for _, other, _ in alone):  # nothing of late
                strays.append((roster.call(n), account.name))
    names = [name for name, _, _ in alone]
    if strays and alone:
        log.report(
            ("strays",), max(account.since for _, account, _ in alone), names,
            channel="trajectory",
            what=f"parameters of the model are in no optimizer, and {strays[0][0]} holds others that "
            "are no longer in the model",
            cause=f"it was built before the model was changed: it still has {_some(s for _, s in strays)}",
        )  # fmt: skip
    elif alone and training and _forgotten(alone, held, models, roster):
        log.report(
            ("ownerless",), min(account.since for _, account, _ in alone), names,
            channel="trajectory",
            what="parameters get gradients, but no optimizer holds them",
            cause="the rest of the model is trained, below them too; if they are meant to stay as they "
            "are, requires_grad_(False) says so",
        )  # fmt: skip
    elif alone:
        log.note("unused", f"in no optimizer, though a gradient arrives: {_some(names)}")
    if strays and not alone:
        log.note("unused", f"in {strays[0][0]}, but in no model: {_some(s for _, s in strays)}")
    shared = [n for n, p, _ in models if len(held.get(id(p), ())) > 1]
    if shared:
        log.note("intent", f"in more than one optimizer: {_some(shared)}")


def _forgotten(
    alone: list[tuple[str, Account, Tensor]],
    held: dict[int, list[int]],
    models: list[tuple[str, Tensor, nn.Module]],
    roster: Roster,
) -> bool:
    """Most of their own model is trained, and something below the lonely parameters as well.

    A head on a body that is not trained, a prompt, an adapter: there most of the model is alone.
    """
    several = len(roster.models) > 1
    roots = {account.model for _, account, _ in alone}
    trained = [
        p
        for _, p, _ in models
        if id(p) in held
        and p.requires_grad
        and (not several or ((a := roster.lookup(p)) is not None and a.model in roots))
    ]
    if len(trained) <= len(alone):
        return False
    if sum(p.numel() for p in trained) <= sum(p.numel() for _, _, p in alone):
        return False
    last = max((a.order for p in trained if (a := roster.lookup(p)) is not None), default=0)
    return all(account.order < last for _, account, _ in alone)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - NAMES
    return ", ".join(listed[:NAMES]) + (f" and {more} more" if more > 0 else "")
