"""One call of the target, as the user's tests or the user's maker of inputs made it.

call.copied()                      same values, nothing shared
call.double()                      floating numbers as float64
call.varied(gen, scale)            fresh random values of the same shapes
observe(call, "dense", seed)       outputs, gradients that the engine delivers, and what was written into
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bugzoo.oracle.probe import cotangent

Observed = dict[str, Tensor | None]


@dataclass(frozen=True, eq=False)
class Call:
    """`owner`: an autograd.Function, an nn.Module, or a function. `names`: of its parameters."""

    owner: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, ...] = ()

    def copied(self) -> "Call":
        """The same values in tensors that share no memory; a module with its parameters."""
        owner, args, kwargs = _copied((self.owner, self.args, self.kwargs), {})
        return replace(self, owner=owner, args=args, kwargs=kwargs)

    def double(self) -> "Call":
        made = self.copied()
        for thing in _things((made.owner, made.args, made.kwargs)):
            if isinstance(thing, nn.Module):
                thing.double()
        args, kwargs = _mapped((made.args, made.kwargs), lambda x: _as_double(x))
        return replace(made, args=args, kwargs=kwargs)

    def varied(self, gen: Generator, scale: float = 1.0) -> "Call":
        """Fresh values where the numbers are floating and not all whole; signs as they were."""
        made = self.copied()
        args, kwargs = _mapped((made.args, made.kwargs), lambda x: _fresh(x, gen, scale))
        return replace(made, args=args, kwargs=kwargs)

    def only(self, n: int) -> "Call":
        """The same with a gradient asked for the n-th of its leaves alone."""
        made = self.copied()
        for k, (_, x) in enumerate(made.leaves()):
            x.requires_grad_(k == n)
        return made

    def leaves(self) -> list[tuple[str, Tensor]]:
        """Inputs that require grad, by name; parameters of the module."""
        found = [(n, x) for n, x in self.tensors() if x.requires_grad and x.is_leaf]
        if isinstance(self.owner, nn.Module):
            found += [(n, p) for n, p in self.owner.named_parameters() if p.requires_grad]
        return found

    def tensors(self) -> list[tuple[str, Tensor]]:
        """The tensors among the arguments, by name; of several in one argument, numbered."""
        listed: list[tuple[str, Tensor]] = []
        names = [*self.names, *(f"x{n}" for n in range(len(self.names), len(self.args)))]
        for name, value in [*zip(names, self.args), *self.kwargs.items()]:
            inside = [x for x in _things(value) if isinstance(x, Tensor)]
            single = isinstance(value, Tensor)
            listed += [(name if single else f"{name}.{n}", x) for n, x in enumerate(inside)]
        return listed

    def with_leaves(self, new: dict[str, Tensor]) -> "Call":
        """The same call with other tensors for its leaves, by name."""
        named = {**dict(self.tensors()), **dict(self.leaves())}
        at = {id(named[name]): x for name, x in new.items()}
        args, kwargs = _mapped((self.args, self.kwargs), lambda x: at.get(id(x), x))
        owner = self.owner
        if isinstance(owner, nn.Module):
            own = {name: new[name] for name, _ in owner.named_parameters() if name in new}

            def owner(*args: Any, **kwargs: Any) -> Any:
                return torch.func.functional_call(self.owner, own, args, kwargs)

        return replace(self, owner=owner, args=args, kwargs=kwargs)

    def asking(self) -> "Call":
        """Where no input requires grad, all floating ones shall."""
        if not any(x.requires_grad for _, x in self.tensors()):
            for _, x in self.tensors():
                if x.is_floating_point() and x.is_leaf:
                    x.requires_grad_(True)
        return self

    def __call__(self) -> Any:
        run: Callable[..., Any] = self.owner
        if isinstance(self.owner, type) and issubclass(self.owner, torch.autograd.Function):
            run = self.owner.apply
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # torch.manual_seed asks every kind of device
            return run(*self.args, **self.kwargs)


def observe(call: Call, layout: str, seed: int) -> Observed:
    """All that a caller can notice of one forward and one backward.

    y0, ...   outputs                        d<name>      gradient of a leaf
    <name>    an input after the pass        g0, ...      a cotangent after the pass
    and buffers, gradients and optimizer states of what it was given
    """
    call = call.copied()
    gen = torch.Generator().manual_seed(seed)
    given = dict(call.tensors())
    returned = list(_things(call()))
    out = [x for x in returned if isinstance(x, Tensor)]
    seen: Observed = {f"y{n}": y.detach().clone() for n, y in enumerate(out)}
    numbers = [x for x in returned if isinstance(x, float | int)]
    seen |= {f"result{n}": torch.tensor(float(x)).double() for n, x in enumerate(numbers)}
    ys = [y for y in out if y.grad_fn is not None and y.is_floating_point()]
    wrt = call.leaves()
    if ys and wrt and layout:
        g = [_cotangent(y, layout, gen) for y in ys]
        grads = torch.autograd.grad(
            ys, [x for _, x in wrt], g, allow_unused=True, create_graph=layout == "second"
        )
        for (name, x), d in zip(wrt, grads, strict=True):
            seen[f"d{name}"] = torch.zeros_like(x) if d is None else d.detach().clone()
        if layout == "second":
            return _second(wrt, grads, gen)
        seen |= {f"g{n}": x for n, x in enumerate(g)}
    seen |= {name: x.detach() for name, x in given.items()}
    return seen | _state(call)


def _second(
    wrt: list[tuple[str, Tensor]], grads: tuple[Tensor | None, ...], gen: Generator
) -> Observed:
    """The gradient of <dx, v>: what a second backward delivers."""
    there = [d for d in grads if d is not None and d.grad_fn is not None]
    if not there:
        return {}
    v = [cotangent(d, "dense", gen) for d in there]
    again = torch.autograd.grad(there, [x for _, x in wrt], v, allow_unused=True)
    return {
        f"dd{name}": torch.zeros_like(x) if d is None else d.detach()
        for (name, x), d in zip(wrt, again, strict=True)
    }


def _state(call: Call) -> Observed:
    """What the call has left in modules and optimizers: parameters, buffers, gradients, moments."""
    seen: Observed = {}
    for n, thing in enumerate(_things((call.owner, call.args, call.kwargs))):
        if isinstance(thing, nn.Module):
            for name, p in thing.named_parameters():
                seen[f"{name} after"] = p.detach()
                if p.grad is not None:
                    seen[f"{name}.grad"] = p.grad.detach()
            seen |= {name: b.detach() for name, b in thing.named_buffers()}
        elif isinstance(thing, torch.optim.Optimizer):
            for k, state in enumerate(thing.state.values()):
                for name, x in state.items():
                    if isinstance(x, Tensor):
                        seen[f"optimizer{n}.{k}.{name}"] = x.detach()
    return seen


def _cotangent(y: Tensor, layout: str, gen: Generator) -> Tensor:
    if layout == "negated":
        return -cotangent(y, "dense", gen)
    return cotangent(y.detach(), "dense" if layout == "second" else layout, gen)


def _things(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for x in value:
            yield from _things(x)
    elif isinstance(value, dict):
        for x in value.values():
            yield from _things(x)
    else:
        yield value


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(x, change) for x in value))
    if isinstance(value, tuple | list):
        return type(value)(_mapped(x, change) for x in value)
    if isinstance(value, dict):
        return {k: _mapped(x, change) for k, x in value.items()}
    return value


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Tensors as new leaves, strides kept; modules and optimizers copied together; the rest shared."""

    def one(x: Tensor) -> Tensor:
        if id(x) not in memo:
            new = x.detach().clone(memory_format=torch.preserve_format)
            memo[id(x)] = new.requires_grad_(x.requires_grad)
        return memo[id(x)]

    value = _mapped(value, lambda x: x if isinstance(x, nn.Parameter) else one(x))
    held = list(_things(value))
    if any(isinstance(x, nn.Module | torch.optim.Optimizer | nn.Parameter) for x in held):
        keep = {id(x): x for x in held if isinstance(x, Tensor) and not isinstance(x, nn.Parameter)}
        return copy.deepcopy(value, keep)
    return value


def _as_double(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        return x
    return x.detach().double().requires_grad_(x.requires_grad)


def _fresh(x: Tensor, gen: Generator, scale: float) -> Tensor:
    values = x.detach()
    if not x.is_floating_point() or not x.numel() or bool((values == values.round()).all()):
        return x
    spread = values.std(correction=0) if x.numel() > 1 else values.abs().mean()
    drawn = torch.randn(x.shape, generator=gen, dtype=torch.float64).to(x.dtype)
    new = values.mean() + scale * (spread if spread > 0 else 1.0) * drawn
    if bool((values >= 0).all()):
        new = new.abs()
    return new.detach().requires_grad_(x.requires_grad)
