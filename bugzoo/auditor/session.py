"""torch patched for the time of one run: backward passes, steps, custom Functions, hooks, operations.

    with Session(listeners) as session: ...

Everything is put back on leaving. One choke point each: the engine's entry for every kind of
backward, the class below `Function` for every `apply` (also one that was bound long ago), torch's
own hooks for optimizer steps, a function mode for the operations in the user's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import _SingleLevelFunction
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode

from bugzoo.auditor import graph
from bugzoo.auditor.hooks import hooking, module_hooking
from bugzoo.auditor.listener import Call, Listener
from bugzoo.auditor.places import holds, place, written
from bugzoo.checkup.patching import patched


class Session:
    """The patches, the counts, and the listeners. `interceptor` may replace results of operations."""

    def __init__(self, listeners: Sequence[Listener] = (), interceptor: Any = None):
        self.listeners = list(listeners)
        self.interceptor = interceptor
        self.quiet = 0  # inside the engine, a step, a Function, or ourselves
        self.inside = 0  # inside an operation: the mode is off there
        self.stepping: Any = None
        self.step_depth = 0
        self.optimizers: list[Optimizer] = []
        self.steps: list[int] = []  # which optimizer, in order
        self.calls: list[Call] = []
        self.backwards = 0
        self.engine_depth = 0
        self.open: list[Call] = []  # backward passes under way, the user's own first
        self.by_hand = False  # writes into parameters are steps
        self.reads: set[int] = set()  # ids of parameters whose .grad the user's code has read
        self.muted = False  # hooks of the user's on gradients have no effect
        self.modified = False  # a hook of the user's replaced a gradient, as hooks may
        self.known: dict[int, Tensor] = {}  # leaves that have been given a gradient, by id
        self.places: set[int] = set()  # their memory
        self.pending = False  # a parameter was written by hand since the last backward

    # -- patches

    def __enter__(self) -> Session:
        stack = self._stack = ExitStack()
        for listener in self.listeners:
            listener.attach(self)
        if self.interceptor is not None:
            self.interceptor.attach(self)
        session = self
        engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

        def run_backward(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            return session._engine(engine, outputs, *args, **kwargs)

        stack.enter_context(patched(torch.autograd, "_engine_run_backward", run_backward))

        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            below = super(_SingleLevelFunction, cls).apply  # type: ignore[misc]
            return session._apply(cls, below, args, kwargs)

        stack.enter_context(patched(_SingleLevelFunction, "apply", classmethod(apply)))
        base_detach = torch._C.TensorBase.detach

        @wraps(base_detach)
        def detach(tensor: Tensor) -> Tensor:
            if session.inside and not session.quiet and session.interceptor is not None:
                return session.interceptor.op(base_detach, (tensor,), {})
            return base_detach(tensor)

        stack.enter_context(patched(Tensor, "detach", detach))
        stack.enter_context(patched(Tensor, "register_hook", hooking(self, Tensor.register_hook)))
        for name in ("register_full_backward_hook", "register_full_backward_pre_hook"):
            original = getattr(nn.Module, name)
            stack.enter_context(patched(nn.Module, name, module_hooking(self, original)))
        init = Optimizer.__init__

        @wraps(init)
        def optimizer_init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            init(optimizer, *args, **kwargs)
            if all(o is not optimizer for o in session.optimizers):
                session.optimizers.append(optimizer)

        stack.enter_context(patched(Optimizer, "__init__", optimizer_init))
        for owner in (Optimizer, nn.Module):
            stack.enter_context(patched(owner, "zero_grad", self._zeroing(owner.zero_grad)))
        for handle in (
            register_optimizer_step_pre_hook(lambda o, a, k: self._step_starts(o)),
            register_optimizer_step_post_hook(lambda o, a, k: self._step_ends(o)),
        ):
            stack.callback(handle.remove)
        stack.enter_context(_Mode(self))
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()
        for listener in self.listeners:
            listener.close()
            listener.session = None  # type: ignore[assignment]

    @contextmanager
    def silence(self) -> Iterator[None]:
        """What runs in the block is not the user's doing."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    # -- what happens

    def _engine(
        self, engine: Callable[..., Any], outputs: Any, cotangents: Any, retain: Any, create: bool,
        inputs: Any, *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        arguments = (outputs, cotangents, retain, create, inputs, *args)
        accumulate = kwargs.get("accumulate_grad", True)
        if torch._C._are_functorch_transforms_active() or (
            self.quiet and not self.engine_depth and self.stepping is None
        ):
            return engine(*arguments, **kwargs)
        self._finish_hand_step()
        with self.silence():
            nodes = graph.walk(outputs)
            call = Call(
                len(self.calls), tuple(outputs), tuple(cotangents), bool(create),
                tuple(x for x in inputs if isinstance(x, Tensor)), accumulate,
                own=not self.engine_depth, line=graph.line(), after=len(self.steps), nodes=nodes,
                leaves=graph.leaves(nodes), inside_step=self.stepping is not None,
            )  # fmt: skip
            self.calls.append(call)
            if self.by_hand and call.own and self.known and call.leaves and not any(
                id(p) in self.known for p, _ in call.leaves
            ):  # fmt: skip
                self.stepped(None)  # other parameters under the same names
                call.after = len(self.steps)
            if self.interceptor is not None and call.own:
                answered, answer = self.interceptor.backward(call)
                if answered:
                    return answer
            for listener in self.listeners:
                listener.before_backward(call)
            outer = self.open[0] if self.open and accumulate else call
            handles = [n.register_prehook(_collector(outer, p)) for p, n in call.leaves]
            if outer is not call:
                outer.leaves += [pair for pair in call.leaves if pair[0] is not None]
            self.open.append(call)
            self.engine_depth += 1
            self.backwards += call.own
            try:
                result = engine(*arguments, **kwargs)
            finally:
                self.engine_depth -= 1
                self.open.pop()
                for handle in handles:
                    handle.remove()
            call.results = tuple(result) if not accumulate and result is not None else ()
            if not accumulate:
                call.got = {
                    id(x): d.detach()
                    for x, d in zip(call.inputs, call.results, strict=False)
                    if d is not None
                }
            for listener in self.listeners:
                listener.after_backward(call)
            if self.interceptor is not None and call.own:
                self.interceptor.ran(call)
            self._know(call)
            call.nodes, call.outputs, call.cotangents, call.results = [], (), (), ()
            call.inputs = ()  # fast weights, with their graphs
            call.leaves = [(p, None) for p, _ in call.leaves]
            return result

    def _apply(self, cls: Any, below: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.engine_depth or self.stepping:
            return below(*args, **kwargs)

        def run() -> Any:
            with self.silence():
                return below(*args, **kwargs)

        if cls.__module__.partition(".")[0] == "torch":
            if self.interceptor is not None and not self.quiet:
                self.interceptor.opaque()
            return run()
        for listener in self.listeners:
            applied = getattr(listener, "applied", None)
            if applied is not None and not self.quiet:
                return applied(cls, args, run)
        if self.interceptor is not None and not self.quiet:
            return self.interceptor.applied(cls, args, run)
        return run()

    def _step_starts(self, optimizer: Any) -> None:
        self.step_depth += 1
        if self.step_depth > 1:
            return  # a step that calls the step it inherits
        if all(o is not optimizer for o in self.optimizers):
            self.optimizers.append(optimizer)
        with self.silence():
            for listener in self.listeners:
                listener.before_step(optimizer)
            if self.interceptor is not None:
                self.interceptor.before_step(optimizer)
        self.stepping = optimizer
        self.quiet += 1

    def _step_ends(self, optimizer: Any) -> None:
        self.step_depth -= 1
        if self.step_depth:
            return
        self.stepping = None
        try:
            self.stepped(optimizer)
        finally:
            self.quiet -= 1

    def stepped(self, optimizer: Any) -> None:
        """A step is over: an optimizer's, or (None) one that was written by hand."""
        known = [n for n, o in enumerate(self.optimizers) if o is optimizer]
        self.steps.append(known[0] if known else -1)
        for listener in self.listeners:
            listener.after_step(optimizer)
        if self.interceptor is not None:
            self.interceptor.after_step(optimizer)

    def op(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("_set_grad_enabled",):
            return func(*args, **kwargs)
        if any(map(is_lazy, args)):  # a parameter that is being made, in a lazy layer
            return self.perform(func, args, kwargs)
        if name == "__get__" and args and getattr(func.__self__, "__name__", "") == "grad":
            self.reads.add(id(args[0]))
        for listener in self.listeners:
            listener.before_op(name, args, kwargs)
        targets = written(name, args, kwargs, func)
        if targets:
            with self.silence():
                for listener in self.listeners:
                    listener.before_write(targets)
            self._written(targets)
        elif self.pending and torch.is_grad_enabled() and holds(args, self.known):
            self._finish_hand_step()
        if self.interceptor is not None:
            return self.interceptor.op(func, args, kwargs)
        return self.perform(func, args, kwargs)

    # -- steps written by hand, in programs without an optimizer

    def _know(self, call: Call) -> None:
        for p, _ in call.leaves:
            if id(p) in call.got:
                self.known[id(p)] = p
                self.places.add(place(p))

    def _written(self, targets: list[Tensor]) -> None:
        if self.pending or not self.known or not (self.by_hand or not self.optimizers):
            return
        if any(id(t) in self.known or place(t) in self.places for t in targets):
            self.pending = True
            with self.silence():
                for listener in self.listeners:
                    listener.before_step(None)

    def _finish_hand_step(self) -> None:
        if self.pending and not self.quiet:
            self.pending = False
            self.stepped(None)

    def perform(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.inside += 1
        try:
            return func(*args, **kwargs)
        finally:
            self.inside -= 1

    def _zeroing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> Any:
            with self.silence():
                for listener in self.listeners:
                    listener.before_zero()
                return original(owner, *args, **kwargs)

        return zero_grad


class _Mode(TorchFunctionMode):
    def __init__(self, session: Session):
        super().__init__()
        self.session = session

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.session.quiet:
            return func(*args, **kwargs)
        return self.session.op(func, args, kwargs)


def _collector(call: Call, p: Tensor) -> Callable[..., None]:
    """Adds up what the leaf is given in this call, after the hooks on it."""

    def collect(grads: Sequence[Tensor | None]) -> None:
        for g in grads:
            if g is not None:
                g = g.detach().to_dense() if g.layout != torch.strided else g.detach().clone()
                old = call.got.get(id(p))
                call.got[id(p)] = g if old is None else old + g

    return collect
