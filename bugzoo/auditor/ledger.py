"""LEDGER: each contribution to a gradient is spent by exactly one step.

    G_s = sum_k a_sk c_k                 c_k: what backward k gave to p;  G_s: p.grad as step s sees it

The weights a_sk come from least squares over random projections, 24 numbers for each contribution
and exact up to rounding: 1 (or one common factor, as after a clip) for what came since the step
before, 0 for all else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from bugzoo.auditor import graph
from bugzoo.auditor.listener import Call, Listener
from bugzoo.auditor.sketch import empty, explain, sketch

RECENT = 12
WEIGHTED = (("DivBackward0",), ("MulBackward0",))  # roots of a loss that says what it weighs


@dataclass
class Contribution:
    """What one backward gave to one parameter."""

    call: int
    sketch: Tensor
    norm: float
    after: int  # steps done before
    signature: tuple[str, ...]
    version: tuple[int, ...]  # of all parameters the backward reached, to tell a moved point
    line: str
    alone: bool = False  # there was no gradient before it
    own: int = 0  # version of the parameter itself
    weighted: bool = False  # its loss is a multiple of something: divided by k, or scaled
    spent: list[int] = field(default_factory=list)  # numbers of the steps that used it
    by: list[int] = field(default_factory=list)  # their optimizers
    read: bool = False  # the user's code looked at .grad before it was cleared


@dataclass
class Account:
    """A parameter: what it was given, what each step saw."""

    p: Tensor
    name: str = ""
    entries: list[Contribution] = field(default_factory=list)
    first: Tensor | None = None  # sketch of the value at the start
    moved: bool = False
    at_step: Tensor | None = None  # sketch of .grad as the last step saw it
    stamp: tuple[int, int] = (0, 0)  # which tensor that was, at which version
    weighed: int = 0  # entries that a step has had the chance to use


@dataclass(frozen=True)
class Weighing:
    """A step's view of one parameter: weights of all contributions, and what they leave unexplained."""

    step: int
    optimizer: int
    entries: tuple[Contribution, ...]
    weights: tuple[float, ...]
    residual: float
    empty: bool  # .grad is None or exactly zero
    fresh: int  # how many of the entries, from the end, no step had seen before
    target: Tensor | None = None  # the gradient, projected

    @property
    def new(self) -> list[tuple[Contribution, float]]:
        pairs = list(zip(self.entries, self.weights, strict=True))
        return pairs[len(pairs) - min(self.fresh, len(pairs)) :]

    @property
    def old(self) -> list[tuple[Contribution, float]]:
        pairs = list(zip(self.entries, self.weights, strict=True))
        return pairs[: len(pairs) - min(self.fresh, len(pairs))]


class Ledger(Listener):
    """Keeps the accounts of one observed run; see books.py for what they tell."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.weighings: dict[int, list[Weighing]] = {}
        self.repeated: list[tuple[int, str]] = []  # the same loss sent backward twice: call, line
        self.writes: list[tuple[str, str]] = []  # hooks that wrote into what they were shown
        self.unreached: list[Call] = []  # passes that reached no leaf of the model
        self.late: dict[int, tuple[int, str]] = {}  # .grad changed after its step, and cleared
        self._suspects: dict[int, tuple[int, str]] = {}
        self.params: dict[int, list[Tensor]] = {}  # of each optimizer
        self._owners: dict[int, Tensor] = {}
        self._owned_by = -1
        self._bare: set[int] = set()  # leaves without a gradient when the last backward began
        self.all_steps: list[int] = []
        self.session_optimizers: list[Any] = []
        self.read_by_user = False  # gradients are looked at, whatever for
        self.bad: dict[int, tuple[int, str]] = {}  # steps along a gradient that is not finite
        self.asked: set[int] = set()  # ids of leaves that autograd.grad was asked about
        self.closures: set[int] = set()  # optimizers that call the loss themselves

    def owner(self, p: Tensor) -> Tensor:
        """The parameter whose memory a leaf shares: a detached alias stands for it."""
        if not self._owners or self._owned_by != len(self.session.optimizers):
            self._owned_by = len(self.session.optimizers)
            self._owners = {
                q.data_ptr(): q
                for o in self.session.optimizers for group in o.param_groups for q in group["params"]
                if not is_lazy(q) and q.layout == torch.strided and q.numel()
            }  # fmt: skip
        if p.layout != torch.strided or not p.numel():
            return p
        q = self._owners.get(p.data_ptr(), p)
        return q if q.shape == p.shape else p

    def account(self, p: Tensor) -> Account:
        if id(p) not in self.accounts:
            self.accounts[id(p)] = Account(p, first=sketch(p))
        return self.accounts[id(p)]

    def before_backward(self, call: Call) -> None:
        if call.own:
            self._bare = {id(p) for p, _ in call.leaves if p.grad is None or empty(p.grad)}
        for p, _ in call.leaves:
            self.account(self.owner(p))
        if call.inside_step:
            self.closures.add(self._number(self.session.stepping))
        if call.own:
            self._look_for_late_changes()
        if call.own and call.accumulate:
            self._look_for_repetition(call)

    def after_backward(self, call: Call) -> None:
        signature = tuple(n.name() for n in call.nodes)
        version = tuple(p._version for p, _ in call.leaves)
        leaves = {id(p): p for p, _ in call.leaves}
        if (
            call.own
            and call.accumulate
            and not any(
                id(p) in call.got and p.numel() and not self._fresh_root(p, call)
                for p, _ in call.leaves
            )
        ):
            self.unreached.append(call)
        if not call.accumulate:
            self.asked |= leaves.keys() & call.got.keys()
            return
        for key, g in call.got.items():
            p = self.owner(leaves[key])
            wide = torch.promote_types(g.dtype, torch.float64)
            norm = float(torch.linalg.vector_norm(g, dtype=wide))
            if key in self.session.reads:
                self.read_by_user = True
                for e in self.account(p).entries:
                    e.read = e.read or not e.spent
            self.account(p).entries.append(
                Contribution(
                    call.number,
                    sketch(g),
                    norm,
                    call.after,
                    signature,
                    version,
                    call.line,
                    id(p) in self._bare,
                    p._version,
                    signature[:1] in WEIGHTED,
                )
            )
            self.session.reads.discard(key)

    @staticmethod
    def _fresh_root(p: Tensor, call: Call) -> bool:
        return any(p is y for y in call.outputs)

    def _look_for_repetition(self, call: Call) -> None:
        for y in call.outputs:
            n = getattr(y, "grad_fn", None)
            if n is None or call.inputs:
                continue
            seen = n.metadata.get("bugzoo root")
            if seen is not None and seen[1] == call.after and not seen[2]:
                self.repeated.append((call.number, call.line))
            n.metadata["bugzoo root"] = (call.number, call.after, call.create_graph)

    def before_zero(self) -> None:
        self._look_for_late_changes()

    def _look_for_late_changes(self) -> None:
        """Between a step and the next backward .grad has been changed, and not to zero."""
        for key, a in self.accounts.items():
            if a.at_step is None:
                continue
            g = a.p.grad
            if g is not None and (id(g), g._version) != a.stamp and not empty(g):
                now = sketch(g)
                if float((now - a.at_step).norm()) > 1e-9 * float(a.at_step.norm()) + 1e-300:
                    words = f"norm {float(a.at_step.norm()):.4g} in projection, {float(now.norm()):.4g} after"
                    self._suspects.setdefault(key, (len(self.session.steps), words))
            a.at_step = None

    def before_step(self, optimizer: Any) -> None:
        number = self._number(optimizer)
        if optimizer is None:
            owned = [a.p for a in self.accounts.values() if a.entries]
        else:
            owned = [p for group in optimizer.param_groups for p in group["params"]]
        self.params[number] = owned
        step = len(self.session.steps) + 1
        for p in owned:
            if id(p) in self.accounts or p.grad is not None:
                self._weigh(p, step, number)

    def _number(self, optimizer: Any) -> int:
        found = [n for n, o in enumerate(self.session.optimizers) if o is optimizer]
        return found[0] if found else -1

    def _weigh(self, p: Tensor, step: int, optimizer: int) -> None:
        a, g = self.account(p), p.grad
        entries = a.entries[-RECENT:]
        fresh = len(a.entries) - a.weighed
        a.weighed = len(a.entries)
        none = g is None or empty(g)
        weights, residual = [0.0] * len(entries), 0.0
        if g is not None and not none:
            a.at_step, a.stamp = sketch(g), (id(g), g._version)
            if not bool(a.at_step.isfinite().all()):
                dense = g.to_dense() if g.layout != torch.strided else g
                count = int((~dense.isfinite()).sum())
                self.bad.setdefault(id(p), (step, f"{count} of {g.numel()} elements"))
            weights, residual = explain([e.sketch for e in entries], fresh, a.at_step, p)
            for e, w in zip(entries, weights, strict=True):
                if abs(w) > 1e-6 and residual < 1e-3:
                    e.spent.append(step)
                    e.by.append(optimizer)
        self.weighings.setdefault(id(p), []).append(
            Weighing(
                step,
                optimizer,
                tuple(entries),
                tuple(weights),
                residual,
                none,
                fresh,
                None if none else a.at_step,
            )
        )

    def after_step(self, optimizer: Any) -> None:
        for a in self.accounts.values():
            if a.first is not None and not a.moved:
                now = sketch(a.p)
                a.moved = not torch.equal(now, a.first)

    def write_hook(self, line: str, words: str) -> None:
        self.writes.append((line, words))

    def got(self, p: Tensor) -> bool:
        """Was `p` ever given a gradient?"""
        return id(p) in self.accounts and bool(self.accounts[id(p)].entries)

    def fed(self, p: Tensor) -> bool:
        """Was `p` ever given a gradient, by a backward or by hand?"""
        return self.got(p) or any(not w.empty for w in self.weighings.get(id(p), []))

    def close(self) -> None:
        """The run is over: what was changed after its step and then cleared or left is on record."""
        self.all_steps = list(self.session.steps)
        self.read_by_user = self.read_by_user or bool(self.session.reads)
        self.session_optimizers = list(self.session.optimizers)
        self._look_for_late_changes()
        for key, words in self._suspects.items():
            views = self.weighings.get(key, [])
            if len(views) >= 2 and not any(self._carried(w) for w in views[1:]):
                self.late[key] = words

    @staticmethod
    def _carried(w: Weighing) -> bool:
        """The step used something of what an earlier step had seen."""
        return (
            any(
                abs(a) > 1e-6 and e.spent and e.spent[0] < w.step
                for e, a in zip(w.entries, w.weights, strict=True)
            )
            or w.residual > 1e-3
        )

    def views(self, names: dict[int, str]) -> Views:
        """Each parameter, named, with what the steps saw; steps that call the loss themselves left out."""
        found: Views = []
        for key, a in self.accounts.items():
            a.name = names.get(key) or a.name or f"a {graph.shape(a.p)} tensor"
            kept = [w for w in self.weighings.get(key, []) if w.optimizer not in self.closures]
            found.append((a, kept))
        return found


Views = list[tuple[Account, list[Weighing]]]


def independent(a: Contribution, b: Contribution) -> bool:
    """Neither is a multiple of the other: their weights can be told apart."""
    size = float(a.sketch.norm() * b.sketch.norm())
    return size > 0 and abs(float(a.sketch @ b.sketch)) < 0.999 * size


def where(a: Account, count: int) -> str:
    """'0.weight and 3 more'."""
    return a.name if count <= 1 else f"{a.name} and {count - 1} more"
