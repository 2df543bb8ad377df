"""`watch`: a training loop under observation, through torch's own hooks alone.

    with bugzoo.watch(model, optimizer) as log:
        ...the loop as it is...
    print(log)

The loop's exceptions pass through, its tensors live no longer than before, and every hook is gone when
the context ends. A mistake in here never stops the loop: it becomes a note.
"""

from __future__ import annotations

import functools
import gc
import itertools
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from bugzoo.errors import UserError
from bugzoo.finding import Cost
from bugzoo.watcher import calls, lines, names, rules, verdicts
from bugzoo.watcher.forwards import Forwards, Layer
from bugzoo.watcher.hooks import Hooks
from bugzoo.watcher.judge import Judge, Step
from bugzoo.watcher.ledger import Fact
from bugzoo.watcher.lifetime import LINE, MADE, Lifetime
from bugzoo.watcher.log import Log
from bugzoo.watcher.norms import Norms, wide
from bugzoo.watcher.replicas import Replicas
from bugzoo.watcher.roster import Account, Roster, owned
from bugzoo.watcher.seals import Seals
from bugzoo.watcher.tap import Tap
from bugzoo.watcher.updates import Running, Updates, downhill, finite

F = TypeVar("F", bound=Callable[..., Any])
CLOSE_LOOK = 3  # the first steps are looked at closely, then those whose number is a power of two


def watch(
    models: nn.Module | Iterable[nn.Module],
    optimizers: Optimizer | Iterable[Optimizer],
    *,
    every: int = 1,
) -> Watch:
    """Watch the training of `models` by `optimizers`; `every` N-th step is looked at for norms and NaN."""
    found = [_listed(models, nn.Module, "models"), _listed(optimizers, Optimizer, "optimizers")]
    if not isinstance(every, int) or every < 1:
        raise UserError(f"watch: every={every!r}; expected a whole number from 1 on")
    return Watch(found[0], found[1], every=every)


def _listed(given: Any, kind: type, what: str) -> list[Any]:
    listed = [given] if isinstance(given, kind) else given
    if not isinstance(listed, Iterable) or isinstance(listed, str | dict | Tensor):
        raise UserError(
            f"watch: {what} is a {type(given).__name__}; expected one torch {kind.__name__} or a list"
        )
    listed = list(listed)
    for one in listed:
        if not isinstance(one, kind):
            raise UserError(
                f"watch: {what} holds a {type(one).__name__}; expected torch {kind.__name__}s"
            )
    if not listed and kind is nn.Module:
        raise UserError(f"watch: {what} is empty; expected at least one torch {kind.__name__}")
    return listed


def _quiet(method: F) -> F:
    """What goes wrong in here must not stop the loop."""

    @functools.wraps(method)
    def guarded(self: Watch, *args: Any, **kwargs: Any) -> None:
        self.guard(method, self, *args, **kwargs)

    return guarded  # type: ignore[return-value]


class Watch:
    """The context manager behind `watch`. With `discover` it finds models and optimizers by itself."""

    def __init__(
        self,
        models: list[nn.Module],
        optimizers: list[Optimizer],
        *,
        every: int = 1,
        discover: bool = False,
    ):
        self.log = Log()
        self.every, self.discover = every, discover
        self.broken = False
        self.roster, self.tap = Roster(), Tap(self.guard)
        self.lifetime, self.chains = Lifetime(), Lifetime(MADE)
        self.judge = Judge(self.log, self.tap.ledger)
        self.norms = Norms(self.tap.samples)
        self.updates = Updates(self.log, self.roster)
        self.forwards, self.calls = Forwards(self), calls.Calls(self)
        self.seals = Seals(self._edited)
        self.replicas: Replicas | None = None
        self.hooks = Hooks()
        self._scaling = False  # a GradScaler is at work
        self.counts: Counter[int] = Counter()
        self._given = (models, optimizers)
        self._stack: list[Running] = []
        self._handles: list[Any] = []
        self._pointers: dict[int, Account] | None = None
        self._cleared = self._called = lines.NOWHERE
        self._saved_hooks = self._cleared_known = self._waits = False
        self._begun = 0.0
        self._terms = itertools.count()
        self._nodes: list[Any] = []  # handles of hooks on nodes of this step
        self._names: dict[int, str] = {}  # what the user calls models, optimizers and tensors

    # -- in and out

    def __enter__(self) -> Log:
        models, optimizers = self._given
        self._given = ([], [])
        self._begun = time.perf_counter()
        self.guard(self._named)
        for model in models:
            self.roster.add_model(model, self._names.get(id(model), ""))
        for optimizer in optimizers:
            self.roster.add_optimizer(optimizer, self._names.get(id(optimizer), ""))
        self._refresh()
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self.forwards.open()
        self.calls.__enter__()
        self.tap.flush = lambda: self.tap.replay(self._heard)
        self._look_closely()
        return self.log

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.calls.__exit__(kind, error, trace)
        self.forwards.close()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._conclude()
        self.tap.close()
        self.tap.flush = lambda: None
        self._unhook()
        self._stack.clear()
        self.updates.after.clear()
        self.replicas = None
        seconds = time.perf_counter() - self._begun
        self.log.cost = Cost(seconds=seconds)

    @_quiet
    def _conclude(self) -> None:
        self.tap.replay(self._heard)
        verdicts.conclude(self.log, self.roster, self.judge, self.forwards)

    def guard(self, do: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call a function of ours, out of sight of modes; its first error ends the watch, not the loop."""
        if self.broken:
            return
        try:
            with torch._C.DisableTorchFunction():
                do(*args, **kwargs)
        except Exception as error:
            self.broken = True
            trace = traceback.extract_tb(error.__traceback__)[-1]
            self.log.note(
                "skipped",
                f"the watch itself failed in {trace.name}, line {trace.lineno}, and saw no more: "
                f"{type(error).__name__}: {error}",
            )

    # -- who is there

    def _named(self) -> None:
        self._names = names.seen(sys._getframe(1))

    def _refresh(self) -> None:
        self.roster.refresh(self._names)
        self._names = {}  # an id may be another thing's by the next time
        self._waits = self.roster.waits()
        for account in self.roster.accounts.values():
            if self.tap.watch(account):  # a new one, or one that is no longer frozen
                p = account.ref()
                late = self.now > 1 and p is not None and p.grad is not None
                account.since = self.now - late
        several = len(self.roster.models) > 1
        for label, ref in self.roster.models:
            model = ref()
            for path, module in model.named_modules() if model is not None else ():
                name = ".".join(filter(None, (label if several else "", path)))
                self.forwards.know(name or type(module).__name__, module)
        if self.replicas is None or self.replicas.models != len(self.roster.models):
            self.replicas = Replicas(self.roster, self.replicas)

    def met(self, module: nn.Module) -> None:
        """A module that nobody has named is called, from no other module."""
        if self.discover and next(module.parameters(), None) is not None:
            self._named()
            self.roster.add_model(module, self._names.get(id(module), ""))
            self._refresh()

    # -- calls of the user's

    @property
    def now(self) -> int:
        """The number of the step under way, counted from 1."""
        return max(self.counts.values(), default=0) + 1

    @_quiet
    def backward(self, loss: Tensor, line: lines.Line) -> None:
        self.tap.called = self._called = line
        scale = calls.carries_scale(loss) if self._scaling else None
        self.tap.scaled = scale is not None
        self._pointers = None
        for node, name in calls.reductions(loss):
            self._nodes.append(node.register_prehook(functools.partial(self._weigh, name, scale)))
        if self.seals_on:
            self.seals.seal(loss.grad_fn)

    @_quiet
    def _weigh(self, name: str, scale: Tensor | None, grads: Any) -> None:
        """The cotangent of a reduction is the weight of its mean or sum in the whole."""
        g = grads[0]
        number = self.tap.task()
        if number < 0 or g is None or g.numel() != 1:
            return
        node = torch._C._current_autograd_node()
        handle = self.tap.samples.keep(g.detach().reshape(1).clone())
        by = self.tap.samples.keep(scale) if scale is not None else None
        metadata: Any = node.metadata
        term = metadata.setdefault("bugzoo.term", next(self._terms))
        self.tap.events.append(("weight", number, name, handle, by, calls.rows(node), term))

    @_quiet
    def cleared(self, frame: Any) -> None:
        if not self._cleared_known:
            self._cleared, self._cleared_known = lines.caller(frame), True

    @_quiet
    def scaled(self, out: Tensor, by: Tensor) -> None:
        if out.grad_fn is not None:
            self._scaling = True
            node: Any = out.grad_fn
            node.metadata["bugzoo.scaled"] = by.detach().reshape(1).clone()

    @_quiet
    def unclipped(self, p: Tensor, frame: Any) -> None:
        account = self.roster.lookup(p)
        if account is not None:
            self.tap.look([account], "hand")
            events = self.tap.events
            if not events or events[-1][0] != "unclipped":
                events.append(("unclipped", lines.caller(frame), []))
            events[-1][2].append(account)

    @_quiet
    def steep(self, out: Tensor, name: str, frame: Any) -> None:
        if not self._looked_at() or out.layout is not torch.strided or out.grad_fn is None:
            return
        title = f"{name}() at {lines.caller(frame).text}"
        total = out.detach().sum(dtype=wide(out.dtype)).reshape(1)
        self.tap.events.append(("output", title, self.tap.samples.keep(total)))
        self._nodes.append(out.grad_fn.register_hook(functools.partial(self._passed, title)))

    @_quiet
    def _passed(self, title: str, given: Any, got: Any) -> None:
        """What the backward of a steep function was given, and what it hands on."""
        sums = [
            torch.stack([g.detach().sum(dtype=wide(g.dtype)) for g in side]).sum().reshape(1)
            for side in ([g for g in part if g is not None and _plain(g)] for part in (got, given))
            if side
        ]
        if len(sums) == 2:
            keep = self.tap.samples.keep
            self.tap.events.append(("passed", title, keep(sums[0]), keep(sums[1])))

    @_quiet
    def read(self, t: Tensor, frame: Any) -> None:
        events = self.tap.events
        if self.roster.lookup(t) is None and t.is_leaf and t.requires_grad:
            events.append(("probe", lines.caller(frame)))
            return
        if not events or events[-1][0] != "read":
            events.append(("read",))

    @_quiet
    def clipped(self, frame: Any, written: Any, done: bool) -> None:
        if self._pointers is None:
            self._pointers = {}
            for account in self.roster.accounts.values():
                p = account.ref()
                if p is not None and p.grad is not None and p.grad.layout is torch.strided:
                    self._pointers[p.grad.data_ptr()] = account
        listed = [written] if isinstance(written, Tensor) else written
        reached = [a for t in listed if (a := self._pointers.get(t.data_ptr())) is not None]
        if reached and not done:
            self.tap.look(reached, "hand")
        elif reached:
            self.tap.events.append(("clip", lines.caller(frame), reached))
            self.tap.look(reached, "clip")

    @_quiet
    def reported(self, t: Tensor) -> None:
        """A number is read off a loss: whom would its backward reach?"""
        if t.grad_fn is None or t.numel() != 1 or not self.forwards.curious:
            return
        found = {a for p in calls.leaves(t.grad_fn) if (a := self.roster.lookup(p)) is not None}
        if found:
            self.judge.reported.append((frozenset(found), lines.caller(sys._getframe(2))))

    @_quiet
    def made(self, out: Tensor, frame: Any) -> None:
        if torch.is_grad_enabled() and self.seals_on and out.grad_fn is not None:
            self.chains.mark(out.grad_fn, self.now)
            node: Any = out.grad_fn
            node.metadata.setdefault(LINE, lines.caller(frame).text)
            self.seals.seal(out.grad_fn)

    def hooked(self) -> None:
        """Saved tensors have hooks, of a checkpoint for example: to read them would run these."""
        self._saved_hooks = True
        self.calls.curious = self.forwards.curious = False

    @property
    def seals_on(self) -> bool:
        transformed = torch._C._are_functorch_transforms_active()
        return self.forwards.curious and not self._saved_hooks and not transformed

    # -- forwards

    @_quiet
    def ran(self, layer: Layer, node: Any, output: Any) -> None:
        self._cleared_known = False
        if self._waits:
            self._refresh()
        if node is None:
            return
        self.lifetime.mark(node, self.now)
        plain = isinstance(output, Tensor) and output.layout is torch.strided
        if plain and layer.parameters and output.is_floating_point() and self._looked_at():
            total = output.detach().sum(dtype=wide(output.dtype)).reshape(1)
            handle = self.tap.samples.keep(total)
            self.tap.events.append(("output", layer.name, handle))
        if self.seals_on:
            self.seals.seal(node)

    def _looked_at(self) -> bool:
        return self.every == 1 or self.now % self.every == 1

    def _edited(self, node: str, name: str, before: float, now: float) -> None:
        line = self._called.text
        self.log.report(
            ("edited", node, name), self.now,
            channel="side_effect",
            what=f"a saved tensor was changed before its backward used it: {name} of {node}",
            cause="a write that autograd cannot see, through .data, NumPy or a view of the memory: "
            f"its sum was {before:.6g} and is {now:.6g}",
            line=line,
        )  # fmt: skip

    # -- steps

    @_quiet
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        index = self.roster.index(optimizer)
        if index is None:
            known = any(self.roster.lookup(p) is not None for p in owned(optimizer))
            if not self.discover and not known:
                return
            self._named()
            self.roster.add_optimizer(optimizer, self._names.get(id(optimizer), ""))
            self._refresh()
            index = len(self.roster.optimizers) - 1
        depth = _depth()
        del self._stack[max(0, depth - 1) :]  # steps that raised have no end
        for outer in self._stack:
            outer.inner = True
        closure = any(map(callable, (*args[1:], *kwargs.values())))
        raw = self._scaling and getattr(optimizer, "grad_scale", None) is None
        raw = raw and not lines.within(sys._getframe(1), calls.SCALER, 16)
        step = Running(optimizer, index, lines.caller(), closure, self._backwards(), raw)
        self._stack.append(step)
        self.updates.by_hand_too(step, self.counts[index])
        if not closure:
            number = self.counts[index] + 1
            step.uses = self._uses(optimizer, number)
            if self._close(number):
                self.updates.foresee(step)

    def _backwards(self) -> int:
        return self.tap.ledger.count + sum(e[0] == "begin" for e in self.tap.events)

    def _uses(self, optimizer: Optimizer, number: int) -> tuple[list[Account], list[int], Any]:
        """Accounts with a gradient, when each got it, and the norms of all of them in one go."""
        turn = None if self._close(number) else number
        accounts: list[Account] = []
        grads: list[Tensor] = []
        mine = [a for p in owned(optimizer) if (a := self.roster.lookup(p)) is not None]
        self.tap.look(mine, "hand", closely=True)
        for account in mine:
            held = account.ref()
            if held is not None and held.grad is not None:
                accounts.append(account)
                grads.append(held.grad)
        norms = self.norms.of(accounts, grads, turn) if self._looked_at() else None
        return accounts, [a.order for a in accounts], norms

    @_quiet
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._stack or self._stack[-1].optimizer is not optimizer:
            return
        step = self._stack.pop()
        if step.inner:
            return
        self.counts[step.index] += 1
        number = self.counts[step.index]
        if step.closure:
            step.uses = self._uses(optimizer, number)
        accounts, orders, norms = step.uses
        members = [a for p in owned(optimizer) if (a := self.roster.lookup(p)) is not None]
        self.tap.renew(members)
        self.updates.examine(step, number)
        if self._close(number) and not step.closure:
            self.updates.after[step.index] = rules.now(optimizer)
        self.tap.events.append(
            ("step", step, number, accounts, orders, norms, frozenset(members), self.forwards.taped,
             self._called, self._cleared)
        )  # fmt: skip
        self._called = lines.NOWHERE
        if not self._stack and torch._C._current_graph_task_id() < 0:
            self._between(number)

    def _unhook(self) -> None:
        self.seals.close()
        for handle in self._nodes:
            handle.remove()
        self._nodes.clear()

    def _between(self, number: int) -> None:
        """A step is over: numbers come over in one transfer, the ledger is brought up to date."""
        self.tap.replay(self._heard)
        self.forwards.forget()
        self._unhook()
        if self.replicas is not None and self.replicas.pairs:
            self.replicas.look(number, self.log, self.tap.handmade)
        for lifetime in (self.lifetime, self.chains):
            if not self.log.has("kept") and lifetime.growing(self.now - 1):
                self._kept(lifetime, self.now - 1)
        if self._close(self.now - 1):
            self.hooks.look(self.now - 1, self.log, self.roster)
        self._refresh()
        self._look_closely()

    def _kept(self, lifetime: Lifetime, number: int) -> None:
        gc.collect()
        first = lifetime.growing(number)
        if not first:
            return
        holder, size, count, line = lifetime.holder()
        steps = sum(s >= first for s in lifetime.alive)
        cause = f"the graphs of all {steps} steps "
        cause += f"{'since then ' * bool(lifetime.freed)}{'looked at closely ' * (lifetime is self.chains)}"
        cause += "are alive"
        if count:
            cause += f": {count // steps} nodes a step, and {size // steps} bytes a step in tensors"
        self.log.report(
            ("kept",), first,
            channel="memory",
            what="graphs are kept alive, step after step",
            cause=cause + (f"; held by {holder}" if holder else ""),
            line=line,
        )  # fmt: skip

    def _close(self, number: int) -> bool:
        return number <= CLOSE_LOOK or number & (number - 1) == 0

    def _look_closely(self) -> None:
        """Is the coming step one of those that are looked at closely?"""
        close = self._close(self.now) and not self._saved_hooks
        self.calls.curious = self.forwards.curious = close
        if close:
            self.seals.exempt = {
                b.data_ptr()
                for _, ref in self.roster.models
                if (m := ref())
                for b in m.buffers()
                if not is_lazy(b)
            }

    # -- replay

    def _heard(self, event: tuple[Any, ...], facts: list[Fact]) -> None:
        kind = event[0]
        judge, numbers = self.judge, self.tap.samples
        if facts:
            judge.hear(facts)
        if kind == "clip":
            judge.clip_line, judge.clipped = event[1], True
            judge.clips(event[1], event[2])
        elif kind == "unclipped":
            judge.clips(event[1], event[2])
        elif kind == "passed":
            before, after = (numbers[h][0] for h in event[2:])
            if finite(before) and not finite(after) and not judge.operation:
                judge.operation = event[1]
        elif kind == "output":
            total = numbers[event[2]][0]
            judge.outputs.append((event[1], total))
            self.norms.doubt |= not finite(total)
        elif kind == "weight":
            _, number, name, handle, by, rows, term = event
            if number in self.tap.ledger.tasks:
                task = self.tap.ledger.tasks[number]
                weight = numbers[handle][0]
                scale = numbers[by][0] if by else 1.0
                judge.weights[task.number].append((name, weight / (scale or 1.0), rows))
                task.terms.add(term)
                task.weight = max(task.weight or 0.0, abs(weight))
        elif kind == "update":
            self._by_hand(event[1])
        elif kind == "step":
            _, step, number, accounts, orders, known, members, taped, called, cleared = event
            norms = (
                [self.norms.read(n) for n in known] if known is not None else [1.0] * len(accounts)
            )
            judge.step(
                Step(
                    step.index, self.roster.call(step.index), number, step.line, accounts, norms,
                    orders, members, step.closure, step.begun, taped, called, cleared, step.raw,
                    known is not None,
                )
            )  # fmt: skip

    def _by_hand(self, told: list[tuple[Account, Any, Any, Any]]) -> None:
        """Parameters without an optimizer that went down along their gradient: a step by hand."""
        numbers = self.tap.samples
        moved: list[Account] = []
        for account, g, before, now in told:
            delta = [n - b for n, b in zip(numbers[now], numbers[before])]
            if any(delta) and not account.by_hand:
                account.by_hand = downhill(delta, numbers[g], numbers[before], account.device_eps)
            if any(delta) and account.by_hand:
                moved.append(account)
        if moved:
            self.counts[-1] += 1
            norms = [math.hypot(*numbers[g]) for a, g, _, _ in told if a in moved]
            self.judge.step(
                Step(
                    -1, "the update by hand", self.counts[-1], lines.NOWHERE, moved, norms,
                    [a.order for a in moved], frozenset(moved),
                )
            )  # fmt: skip


def _plain(t: Any) -> bool:
    return isinstance(t, Tensor) and t.layout is torch.strided and t.is_floating_point()


def _depth() -> int:
    """How many optimizer steps are on the stack right now."""
    frame, found = sys._getframe(1), 0
    while frame is not None:
        code = frame.f_code
        found += code.co_name == "wrapper" and code.co_filename.endswith("optim/optimizer.py")
        frame = frame.f_back  # type: ignore[assignment]
    return found
