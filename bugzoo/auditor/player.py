"""A run recorded, and played again at other parameters with all else held still.

From its second iteration on the program is recorded: what detach(), .data and no_grad gave, what
became a number, what each backward gave, how each step moved the parameters. Played again at

    p + h u                              u: a direction, for each parameter

the program computes its losses anew, but gets all of that from the tape. So what is declared as no
part of the gradient is no part of the difference either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from bugzoo.auditor import graph
from bugzoo.auditor.contracts import Contracts
from bugzoo.auditor.directions import normal, typical
from bugzoo.auditor.listener import Call, Stop
from bugzoo.auditor.places import holds, place, written
from bugzoo.auditor.results import BENT, bent, dot, equal, floats, mapped
from bugzoo.auditor.session import Session
from bugzoo.auditor.tape import Astray, Loss, Tape
from bugzoo.watcher import names

NUMBERS = ("item", "tolist", "__float__", "__int__", "__bool__", "__index__", "numpy", "__array__")
JITTER = 1e-3
LOSSES = 4  # of one iteration that are looked at


class Player:
    """Intercepts a session: records (`tape` empty) or plays a tape at other parameters.

    `start`: steps before the recorded iteration. `length`: steps of it. `stops`: Functions whose
    backward is no derivative by intent. `shift`, times `by`, is added to each parameter. `bend`: 'numbers'
    or 'gradients' are multiplied by 1.37 while recording. `free`: nothing but steps comes from the tape.
    """

    def __init__(
        self,
        tape: Tape,
        start: int,
        length: int,
        stops: set[str],
        *,
        play: bool = False,
        shift: Sequence[Tensor | None] = (),
        by: float = 0.0,
        bend: str = "",
        free: bool = False,
        jitter: float = JITTER,
        frozen: dict[int, set[int]] | None = None,
    ):
        self.tape, self.start, self.length, self.stops = tape, start, length, stops
        self.play, self.shift, self.by = play, shift, by
        self.bend, self.free, self.jitter = bend, free, jitter
        self.state = 0 if start else 1
        self.at = self.loss_at = self.step_at = 0
        self.values: list[float] = []
        self.params: list[Tensor] = []
        self.ready_for = (0, 0)  # optimizers and trained tensors known
        self.aliases: dict[int, Tensor] = {}
        self.kept: list[Tensor] = []
        self.contracts = Contracts()
        self.known_frozen = frozen or {}
        self.depends = False  # a number is another one at other parameters
        self.late = False
        self.off: set[int] = set()  # parameters that were frozen for the coming loss

    def attach(self, session: Session) -> None:
        self.session = session
        session.muted = True

    # -- the point

    def _ready(self) -> list[Tensor]:
        there = len(self.session.optimizers), len(self.session.known)
        if not self.params or (self.state == 1 and there != self.ready_for):
            self.ready_for = there  # another optimizer may be built before a parameter is used
            found: dict[int, Tensor] = {}
            for o in self.session.optimizers:
                for group in o.param_groups:
                    for p in group["params"]:
                        found.setdefault(id(p), p)
            for key, p in self.session.known.items():
                found.setdefault(key, p)
            self.params = [
                p for p in found.values()
                if not is_lazy(p) and p.requires_grad and p.is_leaf
                and p.is_floating_point() and p.layout == torch.strided
            ]  # fmt: skip
            self.index = {id(p): n for n, p in enumerate(self.params)}
        return self.params

    def _maybe_inject(self, args: Any) -> None:
        if self.state == 1 and torch.is_grad_enabled():
            self._ready()
            if holds(args, self.index):
                self._inject()

    def _inject(self) -> None:
        """The run stands before the first use of a parameter: move to the point, start the tape."""
        self.state = 2
        if not self.start and any(
            is_lazy(p) for o in self.session.optimizers for g in o.param_groups for p in g["params"]
        ):
            raise Astray("it has other parameters after its first step")
        with self.session.silence(), torch.no_grad():
            params = self._ready()
            if self.play and [tuple(p.shape) for p in params] != self.tape.shapes:
                raise Astray("it has other parameters when it is built again")
            if not self.play:
                self._settle(params)
            for n, p in enumerate(params):
                if self.tape.jitter:
                    p.add_(self.tape.jitter[n])
                if self.play and self.shift and (u := self.shift[n]) is not None:
                    p.add_(u.to(p.dtype), alpha=self.by)
            self.places: dict[int, list[int]] = {}
            for n, p in enumerate(params):
                self.places.setdefault(place(p), []).append(n)

    def _settle(self, params: list[Tensor]) -> None:
        """Names, rows that stay where they are, and the way to a point beside all kinks at 0."""
        tape = self.tape
        tape.shapes, tape.dtypes = [tuple(p.shape) for p in params], [p.dtype for p in params]
        tape.sizes = [typical(p) for p in params]
        named = graph.held(names.seen()) if not self.bend else {}
        tape.names = [
            named.get(id(p)) or graph.variable_name(p) or f"parameter {n + 1}"
            for n, p in enumerate(params)
        ]
        tape.frozen = dict(self.known_frozen) | self.contracts.frozen(params)
        gen = torch.Generator().manual_seed(20_210_503)
        for n, p in enumerate(params if self.jitter else []):
            noise = normal(p.shape, p.dtype, gen).to(p.device)
            step = noise.mul_(p.abs().add_(0.1 * tape.sizes[n])).mul_(self.jitter)
            for row in tape.frozen.get(n, ()):
                step[row if row >= 0 else slice(None)] = 0.0
            tape.jitter.append(step)

    @property
    def late_contracts(self) -> dict[int, set[int]]:
        """What was learnt of the parameters after the point was chosen."""
        found = self.contracts.frozen(self.params)
        return {n: rows for n, rows in found.items() if self.tape.frozen.get(n) != rows}

    # -- operations

    def op(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if "embedding" in name:
            self.contracts.meet(name, args, kwargs)
        self._maybe_inject((*args, *kwargs.values()))
        perform = self.session.perform
        if self.state != 2:
            return perform(func, args, kwargs)
        if "fake_quant" in name:
            return self._stop(perform(func, args, kwargs), args, always=True)
        freezes = name == "requires_grad_" or (
            name == "__set__" and getattr(func.__self__, "__name__", "") == "requires_grad"
        )
        if freezes and id(args[0]) in self.index:
            result = perform(func, args, kwargs)
            self.off |= set() if args[0].requires_grad else {self.index[id(args[0])]}
            return result
        targets = written(name, args, kwargs, func)
        if targets:
            return self._write(func, args, kwargs, targets)
        if name in NUMBERS:
            return self._number(perform(func, args, kwargs), args)
        getter = getattr(func.__self__, "__name__", "") if name == "__get__" else ""
        if name == "detach" or getter == "data":
            return self._stop(perform(func, args, kwargs), args)
        if torch.is_grad_enabled() or (
            getter and getter not in ("T", "mT", "H", "mH", "real", "imag")
        ):
            return perform(func, args, kwargs)
        if name in ("requires_grad_", "register_hook", "retain_grad"):
            return perform(func, args, kwargs)
        return self._stop(perform(func, args, kwargs), args)

    def applied(self, cls: Any, args: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        self.opaque()
        result = run()
        if self.state != 2 or not (graph.title(cls) in self.stops or not torch.is_grad_enabled()):
            return result
        return self._stop(result, args, always=True)

    def opaque(self) -> None:
        """A Function is about to run: what parameters it uses inside is not to be seen."""
        if self.state != 1 or not torch.is_grad_enabled():
            return
        with self.session.silence():  # what is asked of the parameters here is no use of them
            there = self._ready()
        if there:
            self._inject()

    def _event(self, kind: str, make: Callable[[], Any]) -> Any:
        """Record what `make` gives, or return what was recorded in this place."""
        if not self.play:
            payload = make()
            self.tape.events.append((kind, payload))
            return payload
        while (
            self.free and self.at < len(self.tape.events) and self.tape.events[self.at][0] != kind
        ):
            self.at += 1  # what is free is not taken from the tape
        if self.at >= len(self.tape.events) or self.tape.events[self.at][0] != kind:
            raise Astray("it takes another way when it is run again")
        self.at += 1
        return self.tape.events[self.at - 1][1]

    def _stop(self, result: Any, args: tuple[Any, ...], always: bool = False) -> Any:
        """A result that is no part of the gradient: from the tape when played."""
        found = floats(result)
        if not found or (self.free and not always):
            return result
        with self.session.silence(), torch.no_grad():
            taped = self._event("stop", lambda: [t.detach().clone() for t in found])
            if not self.play:
                if always:
                    return mapped(result, [t.detach() for t in found])
                return result
            if len(taped) != len(found) or any(
                a.shape != b.shape or a.dtype != b.dtype for a, b in zip(taped, found, strict=True)
            ):
                raise Astray("it takes another way when it is run again")
            if self.free:
                return mapped(result, [t.detach() for t in found])
            sources = {place(a) for a in args if isinstance(a, Tensor)}
            copies = []
            for t, live in zip(taped, found, strict=True):
                copy = t.clone()
                if place(live) in sources or place(live) in self.places:
                    self.aliases[place(copy)] = self.aliases.get(place(live), live)
                    self.kept.append(copy)
                copies.append(copy)
            return mapped(result, copies)

    def _number(self, result: Any, args: tuple[Any, ...]) -> Any:
        real = isinstance(result, float) or (
            not isinstance(result, bool | int) and args and args[0].is_floating_point()
        )
        with self.session.silence():
            if not self.play and real:
                self.tape.numbers.append(graph.line())
                if self.bend == "numbers":
                    result = bent(result)
            taped = self._event(
                "number", lambda: result.copy() if hasattr(result, "copy") else result
            )
        if self.play and real and not equal(taped, result):
            self.depends = True
        if not self.play or self.free:
            return result
        return taped.copy() if hasattr(taped, "copy") else taped

    def _write(self, func: Any, args: Any, kwargs: Any, targets: list[Tensor]) -> Any:
        """A write in place: into a parameter as the recorded change, elsewhere as recorded or live."""
        hit = sorted({n for t in targets for n in self.places.get(place(self._live(t)), ())})
        setter = getattr(func, "__name__", "") == "__set__"  # p.data = ...: no gradient is asked
        plain = not torch.is_grad_enabled() or not any(t.requires_grad for t in targets)
        if hit and (setter or plain):
            with self.session.silence(), torch.no_grad():
                if not self.play:
                    before = {n: self.params[n].detach().clone() for n in hit}
            if not self.play:
                result = self.session.perform(func, args, kwargs)
                with self.session.silence(), torch.no_grad():
                    self._event(
                        "write",
                        lambda: {n: self.params[n].detach() - old for n, old in before.items()},
                    )
                    for n in hit:
                        self.places.setdefault(place(self.params[n]), []).append(n)
                return result
            with self.session.silence(), torch.no_grad():
                for n, delta in self._event("write", dict).items():
                    self.params[n].data.add_(delta)
            return args[0]
        if args and isinstance(args[0], Tensor) and place(args[0]) in self.aliases:
            args = (self.aliases[place(args[0])], *args[1:])
            targets = [args[0]]
        result = self.session.perform(func, args, kwargs)
        if torch.is_grad_enabled() or any(t.requires_grad for t in targets) or self.free:
            return result
        with self.session.silence(), torch.no_grad():
            taped = self._event("set", lambda: [t.detach().clone() for t in targets])
            if self.play:
                for t, v in zip(targets, taped, strict=True):
                    t.copy_(v)
        return result

    def _live(self, t: Tensor) -> Tensor:
        return self.aliases.get(place(t), t)

    # -- backward passes

    def backward(self, call: Call) -> tuple[bool, Any]:
        if self.state == 1 and not call.inside_step:
            self.late = True
            raise Astray("no use of a parameter was seen before the backward")
        if self.state != 2 or not self.play:
            return False, None
        if self.loss_at >= len(self.tape.losses):
            raise Astray("it takes another way when it is run again")
        loss = self.tape.losses[self.loss_at]
        if loss.counted:
            self.values.append(dot(call.outputs, loss.cotangents))
        self.loss_at += 1
        if not any(later.counted for later in self.tape.losses[self.loss_at :]):
            raise Stop
        if call.create_graph:
            return False, None
        if loss.rng is not None:
            torch.default_generator.set_state(loss.rng)
        for (p, _), g in zip(call.leaves, loss.grads, strict=False):
            p.grad = None if g is None else g.clone()
        for n, g in loss.held.items():
            self.params[n].grad = g.clone()
        return True, tuple(None if d is None else d.clone() for d in loss.results) or None

    def ran(self, call: Call) -> None:
        if self.state != 2 or self.play:
            return
        counted = sum(x.counted for x in self.tape.losses) < LOSSES and not call.inside_step
        about = None
        if call.inputs:
            about = frozenset(self.index[id(x)] for x in call.inputs if id(x) in self.index)
            counted = counted and bool(about)
        elif self.off:  # frozen while this loss is made: it need not be their gradient
            about = frozenset(range(len(self.params))) - self.off
        counted = counted and not (call.create_graph and not call.accumulate)
        taken = (lambda g: g) if call.accumulate else torch.clone  # the user may write into results
        got = {self.index[k]: taken(g) for k, g in call.got.items() if k in self.index}
        leaves = [p for p, _ in call.leaves]
        mine = {id(p) for p in leaves}
        floats = [y for y in call.outputs if isinstance(y, Tensor)]
        loss = Loss(
            call.line, dot(call.outputs, call.cotangents),
            tuple(None if b is None else b.detach().clone() for b in call.cotangents), got, about, counted,
            [None if p.grad is None else p.grad.detach().clone() for p in leaves],
            {n: p.grad.detach().clone() for n, p in enumerate(self.params)
             if p.grad is not None and id(p) not in mine},
            tuple(None if d is None else d.detach().clone() for d in call.results),
            torch.get_rng_state(), floats[0].dtype if floats else torch.float64,
        )  # fmt: skip
        self.tape.losses.append(loss)
        if not call.accumulate and not call.create_graph:
            self.tape.inner += 1
            if self.bend == "gradients":
                with torch.no_grad():
                    for d in call.results:
                        if d is not None:
                            d.mul_(BENT)

    # -- steps

    def before_step(self, optimizer: Any) -> None:
        if self.state != 2:
            return
        if not self.play and len(self.session.steps) + 1 >= self.start + self.length:
            raise Stop  # nothing is played beyond the last step
        with torch.no_grad():
            self.before = [p.detach().clone() for p in self.params] if not self.play else []
            if self.play:
                self.stash = [p.grad for p in self.params]
                for p in self.params:
                    p.grad = None

    def after_step(self, optimizer: Any) -> None:
        done = len(self.session.steps)
        self.off.clear()
        if self.state == 2 and optimizer is not None:
            with self.session.silence(), torch.no_grad():
                if not self.play:
                    self.tape.deltas.append({
                        n: p.detach() - old
                        for n, (p, old) in enumerate(zip(self.params, self.before, strict=True))
                        if not torch.equal(p, old)
                    })  # fmt: skip
                elif self.step_at < len(self.tape.deltas):
                    for n, delta in self.tape.deltas[self.step_at].items():
                        self.params[n].data.add_(delta)
                    for p, g in zip(self.params, self.stash, strict=True):
                        p.grad = g
                self.step_at += 1
        if self.state == 0 and done >= self.start:
            self.state = 1
        elif done >= self.start + self.length:
            raise Stop
