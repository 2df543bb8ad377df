"""All that a detector may see: a callable and an input maker, or a training run.

No name, no class, no file, no twin: the code is rebuilt from its standalone text under a neutral
name, and the two twins of a specimen lead to the same objects except for that code.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo import source
from bugzoo.anonymous import anonymous
from bugzoo.loop import Loop
from bugzoo.model import Case, Context, Specimen
from bugzoo.seats import Seat, Seated


def tensors(outputs: Any) -> tuple[Tensor, ...]:
    """The tensors among the outputs of an operation, one or several."""
    listed = outputs if isinstance(outputs, tuple | list) else (outputs,)
    return tuple(y for y in listed if isinstance(y, Tensor))


def outputs(out: Any) -> tuple[Tensor, ...]:
    """The outputs that carry a gradient; the floating ones where none does: that graph is cut."""
    found = tensors(out)
    carrying = tuple(y for y in found if y.requires_grad)
    return carrying or tuple(y for y in found if y.is_floating_point())


def leaves(inputs: Iterable[Any]) -> tuple[Tensor, ...]:
    """The inputs that require grad, in order."""
    return tuple(x for x in inputs if isinstance(x, Tensor) and x.requires_grad)


def fresh(inputs: Iterable[Any], dtype: torch.dtype | None = None) -> tuple[Any, ...]:
    """The same values as new leaves that share no memory, strides kept; floating ones in `dtype`."""

    def one(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        copy = x.detach().clone(memory_format=torch.preserve_format)
        wanted = dtype if dtype is not None and x.is_floating_point() else x.dtype
        return copy.to(wanted).requires_grad_(x.requires_grad)

    return tuple(map(one, inputs))


class Subject:
    """The black box of one trial; counts the passes that a detector spends on it.

    offers      what it can give: operation, training, source, reference, several_inputs
    inputs(gen) fresh inputs of the operation; those that require grad are leaves
    op(*inputs) the operation: a tensor or a tuple of tensors
    reference   the same function in plain differentiable torch, where there is one
    twice       the author promises a second derivative
    deterministic  the author promises the same bits for the same inputs
    declares    what the author says of the gradient, see bugzoo.model.DECLARATIONS
    source      the code as text, able to stand alone
    start(gen)  a fresh training run: `.models`, `.optimizers`, `.advance() -> loss`
    """

    def __init__(
        self,
        *,
        op: Callable[..., Any] | None = None,
        draw: Callable[[Generator], tuple[Any, ...]] | None = None,
        extras: tuple[Any, ...] = (),
        reference: Callable[..., Any] | None = None,
        start: Callable[[Generator], Loop] | None = None,
        source: str = "",
        twice: bool = False,
        deterministic: bool = True,
        declares: tuple[str, ...] = (),
        several_inputs: bool = False,
    ):
        self._op, self._draw, self._extras = op, draw, extras
        self._reference, self._start = reference, start
        self.source, self.twice, self.deterministic = source, twice, deterministic
        self.declares = declares
        self.forwards = self.backwards = 0
        offers = {
            "operation": op is not None,
            "training": start is not None,
            "source": bool(source),
            "reference": reference is not None,
            "several_inputs": several_inputs,
        }
        self.offers = frozenset(name for name, offered in offers.items() if offered)

    def inputs(self, gen: Generator) -> tuple[Any, ...]:
        assert self._draw is not None
        return self._draw(gen)

    def op(self, *inputs: Any) -> Any:
        assert self._op is not None
        self.forwards += 1
        out = self._op(*inputs, *self._extras)
        nodes = [y.grad_fn for y in tensors(out) if y.grad_fn is not None]
        if nodes:
            nodes[0].register_hook(self._count)
        return out

    def reference(self, *inputs: Any) -> Any:
        assert self._reference is not None
        self.forwards += 1
        return self._reference(*inputs, *self._extras)

    def vjp(self, inputs: tuple[Any, ...], g: Any) -> tuple[Tensor, ...]:
        """Gradients of the leaves among `inputs` under `g`, one cotangent for each of `outputs`.

        Zeros where autograd has None, and everywhere when no output carries a gradient.
        """
        wrt = leaves(inputs)
        ys = outputs(self.op(*inputs))
        if not any(y.requires_grad for y in ys):
            return tuple(torch.zeros_like(x) for x in wrt)
        grads = torch.autograd.grad(ys, wrt, g, allow_unused=True)
        return tuple(
            torch.zeros_like(x) if d is None else d for x, d in zip(wrt, grads, strict=True)
        )

    def start(self, gen: Generator) -> Loop:
        assert self._start is not None
        loop = self._start(gen)
        loop.on_step = self._stepped
        return loop

    def _stepped(self) -> None:
        """A step counts as one pass each way, however many micro-batches the run makes of it."""
        self.forwards += 1
        self.backwards += 1

    def _count(self, *_: Any) -> None:
        self.backwards += 1


def subject(specimen: Specimen, case: Case | Context) -> Subject:
    """The subject that `specimen` is in `case`: an operation, or a training run for a Context."""
    text = source.standalone(specimen.cls)
    cls: Any = source.build(text)
    truth, home = specimen.truth, specimen.cls.__module__
    if isinstance(case, Context):
        seat = anonymous(truth.seat, home)
        return Subject(start=training(specimen.kind, cls, seat, case.options), source=text)
    return Subject(
        op=cls.apply,
        draw=anonymous(case.draw, home),
        extras=case.extras,
        reference=anonymous(truth.reference, home),
        source=text,
        twice=truth.twice,
        deterministic=truth.deterministic,
        declares=truth.declares,
    )


def training(
    kind: str, cls: Any, seat: Seat | None, options: Mapping[str, Any]
) -> Callable[[Generator], Loop]:
    """What starts a run: the loop itself, or for an operation the network in which it sits."""
    if kind == "loop":
        return lambda gen: cls(gen, **options)
    assert seat is not None
    return lambda gen: Seated(gen, op=cls.apply, seat=seat, **options)
