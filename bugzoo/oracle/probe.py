"""One probe of an operation: inputs, cotangent, and what the engine delivers for them.

Magnitudes are spread over three decades and signs are mixed, unlike any detector's probes.
What counts is what `autograd.grad` delivers, not what `backward` returns: the engine sums a
gradient to its input's shape where it can, and so repairs some wrong returns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo.model import Case, Truth


@dataclass(frozen=True)
class Probe:
    """An operation `op` in a case: draw anything from `gen`, compare with what `truth` promises."""

    op: Callable[..., Any]
    truth: Truth
    case: Case
    gen: Generator

    def inputs(self) -> tuple[Any, ...]:
        return self.case.draw(self.gen)

    def outputs(self, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return self._called(self.op, inputs)

    def references(self, inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        assert self.truth.reference is not None
        return self._called(self.truth.reference, inputs)

    def _called(self, op: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        if self.truth.deterministic:
            return tensors(op(*inputs, *self.case.extras))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # an operation that draws and its reference draw the same
            return tensors(op(*inputs, *self.case.extras))

    def cotangents(self, outputs: tuple[Tensor, ...], layout: str = "") -> tuple[Tensor, ...]:
        return tuple(cotangent(y, layout or self.case.cotangent, self.gen) for y in outputs)


def tensors(out: Any) -> tuple[Tensor, ...]:
    """Outputs that carry a gradient."""
    listed = out if isinstance(out, tuple | list) else (out,)
    return tuple(y for y in listed if isinstance(y, Tensor) and y.requires_grad)


def leaves(inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(x for x in inputs if isinstance(x, Tensor) and x.requires_grad)


def again(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same values as fresh leaves, strides kept."""
    return tuple(
        x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
        if isinstance(x, Tensor)
        else x
        for x in inputs
    )


def spread(shape: torch.Size, gen: Generator, dtype: torch.dtype) -> Tensor:
    """Random signs, magnitudes log-uniform in [0.03, 30]."""
    sign = torch.randint(2, shape, generator=gen) * 2 - 1
    size = torch.rand(shape, generator=gen, dtype=torch.float64) * 3.0 - 1.5
    return (sign * 10.0**size).to(dtype)


def cotangent(y: Tensor, layout: str, gen: Generator) -> Tensor:
    """A cotangent for the output `y` as the consumer named by `layout` would hand it back."""
    if layout in ("ones", "expanded"):
        one = torch.ones((), dtype=y.dtype).expand(y.shape)
        return one.clone(memory_format=torch.contiguous_format) if layout == "ones" else one
    if layout == "zero":
        return torch.zeros(y.shape, dtype=y.dtype)
    if layout == "transposed" and y.dim() >= 2:
        return spread(torch.Size([*y.shape[:-2], y.shape[-1], y.shape[-2]]), gen, y.dtype).mT
    if layout == "narrow" and y.dim() >= 1:
        wider = spread(torch.Size([*y.shape[:-1], y.shape[-1] + 3]), gen, y.dtype)
        return wider.narrow(-1, 2, y.shape[-1])
    drawn = spread(y.shape, gen, y.dtype)
    return drawn * 1e3 if layout == "large" else drawn


def delivered(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Any, ...],
    g: tuple[Tensor, ...],
    **options: bool,
) -> tuple[Tensor | None, ...]:
    """What the engine hands to each leaf; None where it hands nothing."""
    return torch.autograd.grad(outputs, leaves(inputs), g, allow_unused=True, **options)
