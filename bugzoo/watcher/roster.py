"""Who is who: parameters by name, the modules they sit in, the optimizers that update them.

Everything is held by weak references: watching keeps nothing alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from bugzoo.watcher import samples


class Account:
    """One parameter: its name, and what is known of its gradient since the last look."""

    __slots__ = (
        "by_hand", "device_eps", "grad", "handle", "held", "model", "name", "order", "owned", "ref",
        "since", "start", "tentative", "value", "version",
    )  # fmt: skip

    def __init__(self, p: Tensor, name: str):
        self.name = name
        self.ref = weakref.ref(p)
        self.device_eps = 0.0
        self.held = False  # there was a gradient when last looked
        self.grad: Any = None  # weak reference to it
        self.version = -1
        self.handle: tuple[int, int] | None = None  # its sample
        self.tentative = -1  # the backward that has reached it and not yet added to it
        self.start = samples.pick(p).clone() if p.layout is torch.strided else None
        self.owned = False  # some optimizer holds it
        self.by_hand = False  # the user steps it along its gradient
        self.value: tuple[int, int] | None = None  # sample of an unowned parameter after a backward
        self.model = -1  # number of the model that it was first found in
        self.since = 1  # step from which on it is watched
        self.order = 0  # how late in a backward it gets its gradient

    def written(self) -> bool:
        """Did anybody write other values into the parameter since it was first seen?"""
        p = self.ref()
        if p is None or self.start is None:
            return False
        now = samples.pick(p)
        return now.shape != self.start.shape or not bool(torch.equal(now, self.start))

    def __repr__(self) -> str:
        return f"Account({self.name!r})"


class Roster:
    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}  # id of the parameter -> account
        self.models: list[tuple[str, weakref.ref[nn.Module]]] = []
        self.optimizers: list[weakref.ref[Optimizer]] = []
        self.kinds: list[str] = []  # their classes
        self.titles: list[str] = []  # what the user calls them
        self.departed: list[Account] = []  # parameters that nobody refers to any more

    def lookup(self, p: Tensor) -> Account | None:
        found = self.accounts.get(id(p))
        return found if found is not None and found.ref() is p else None

    def enter(self, p: Tensor, name: str) -> Account:
        """The account of a parameter; a new one where it has none."""
        found = self.lookup(p)
        if found is None:
            if id(p) in self.accounts:
                self.departed.append(self.accounts[id(p)])
            found = self.accounts[id(p)] = Account(p, name)
        return found

    def add_model(self, model: nn.Module, name: str = "") -> None:
        """`name` is the user's, where it is known; two models never bear the same one."""
        if not any(ref() is model for _, ref in self.models):
            if not name or any(name == label for label, _ in self.models):
                name = f"models[{len(self.models)}]"
            self.models.append((name, weakref.ref(model)))

    def add_optimizer(self, optimizer: Optimizer, name: str = "") -> None:
        if self.index(optimizer) is None:
            self.optimizers.append(weakref.ref(optimizer))
            if not name or name in self.titles:
                name = f"optimizer {len(self.titles)}"
            self.titles.append(name)
            self.kinds.append(type(optimizer).__name__)

    def index(self, optimizer: Optimizer) -> int | None:
        for n, ref in enumerate(self.optimizers):
            if ref() is optimizer:
                return n
        return None

    def call(self, n: int) -> str:
        """How a message names an optimizer: by its class, with a number where there are several."""
        if n < 0:
            return "the update by hand"
        kind = self.kinds[n]
        return kind if len(self.optimizers) == 1 else f"{kind} ({self.titles[n]})"

    def named(self) -> Iterator[tuple[str, Tensor, nn.Module]]:
        """(name, parameter, the module it sits in) over all models; one with several names once."""
        seen: set[int] = set()
        several = len(self.models) > 1
        for label, ref in self.models:
            model = ref()
            for path, module in model.named_modules() if model is not None else ():
                for own, p in module._parameters.items():
                    if p is not None and id(p) not in seen and not is_lazy(p):
                        seen.add(id(p))
                        prefix = ".".join(filter(None, (label if several else "", path)))
                        yield f"{prefix}.{own}" if prefix else own, p, module

    def refresh(self, names: Mapping[int, str]) -> list[Account]:
        """Accounts for what models and optimizers hold now; the ones that are new. `names` by id."""
        before = set(self.accounts.values())
        for name, p, _ in self.named():
            self.enter(p, name).name = name  # with a second model the first one's get their prefix
        for n, ref in enumerate(self.optimizers):
            optimizer = ref()
            if optimizer is not None:
                for g, group in enumerate(optimizer.param_groups):
                    for k, p in enumerate(group["params"]):
                        if is_lazy(p):
                            continue
                        label = f"{self.titles[n]} " if len(self.optimizers) > 1 else ""
                        self.enter(p, names.get(id(p)) or f"group {label}{g}[{k}]").owned = True
        new = [a for a in self.accounts.values() if a not in before]
        for k, (_, known) in enumerate(self.models if new else ()):
            model = known()
            for p in model.parameters() if model is not None else ():
                account = self.lookup(p)
                if account is not None and account.model < 0:
                    account.model = k
        return new

    def waits(self) -> bool:
        """Are there parameters of lazy layers, which nobody has made yet?"""
        held = (o.param_groups for ref in self.optimizers if (o := ref()) is not None)
        given = (m.parameters() for _, ref in self.models if (m := ref()) is not None)
        return any(is_lazy(p) for groups in held for g in groups for p in g["params"]) or any(
            is_lazy(p) for each in given for p in each
        )


def owned(optimizer: Optimizer) -> Iterable[Tensor]:
    """The parameters that this optimizer updates; those of lazy layers once they are made."""
    return (p for group in optimizer.param_groups for p in group["params"] if not is_lazy(p))
