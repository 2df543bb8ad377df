"""The inputs as they are given: a maker or examples, made into fresh leaves; and inputs in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bugzoo.checkup.target import copies, flat, seeded, weight
from bugzoo.errors import UserError, first_line

SHOWN = 12  # numbers of inputs that a finding writes out


def call_of(fn: Any, seed: int) -> Callable[..., Any]:
    """What is called: of a Function its apply, of a Module class a module, built from the seed."""
    if isinstance(fn, type) and issubclass(fn, torch.autograd.Function):
        return fn.apply
    if isinstance(fn, type) and issubclass(fn, nn.Module):
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            try:
                return fn()
            except TypeError as error:
                raise UserError(
                    f"{fn.__name__}() cannot be built without arguments: {error}.\n"
                    "Pass a module, or a function that builds and calls one."
                ) from None
    if not callable(fn):
        raise UserError(
            f"fn: got {type(fn).__name__}; expected a function, an autograd.Function or a module"
        )
    return fn  # type: ignore[no-any-return]


def made_by(make_inputs: Any, seed: int) -> Any:
    """What a maker makes, asked twice; or the examples themselves."""
    made = make_inputs
    if callable(make_inputs) and not isinstance(make_inputs, Tensor | nn.Module):
        with seeded(seed):  # once: a maker that draws without its seed must show
            made, again = _made(make_inputs, seed), _made(make_inputs, seed)
        if _shapes(made) != _shapes(again):
            raise UserError(
                f"make_inputs gives other shapes each time: {_shapes(made)}, then {_shapes(again)}.\n"
                "Expected the same shapes for the same seed."
            )
    return made


def inputs_of(made: tuple[Any, ...], held: bool = False) -> tuple[tuple[Any, ...], bool]:
    """(inputs, marked): all floating ones require grad where none was marked.

    `held`: the function has parameters of its own, so that inputs may be integers alone.
    """
    inputs = copies(made)
    tensors = [x for x in flat(inputs) if isinstance(x, Tensor)]
    for x in tensors:
        if x.layout not in (torch.strided, torch.sparse_coo):
            raise UserError(
                f"an input has the layout {x.layout}; expected a dense tensor or a sparse one in COO.\n"
                "Pass its values, and build it inside the function."
            )
    floats = [x for x in tensors if x.is_floating_point() or x.is_complex()]
    if not floats and not held and not any(isinstance(x, nn.Module) for x in inputs):
        kinds = ", ".join(str(x.dtype) for x in tensors) or "no tensors"
        raise UserError(
            f"no differentiable input: got {kinds}; expected a floating or complex tensor"
        )
    marked = any(x.requires_grad for x in floats)
    if not marked:
        for x in floats:
            x.requires_grad_()
    return inputs, marked


def _made(maker: Any, seed: int) -> Any:
    try:
        takes = len(inspect.signature(maker).parameters)
    except (TypeError, ValueError):
        takes = 1
    try:
        return maker(seed) if takes else maker()
    except Exception as error:
        if "CUDA" in str(error) or "NVIDIA" in str(error):
            raise UserError(
                f"make_inputs asks for CUDA, and there is none: {first_line(error)}\n"
                "Make the inputs on the CPU, or run where a GPU is."
            ) from error
        raise UserError(f"make_inputs raised {type(error).__name__}: {error}") from error


def _shapes(inputs: Any) -> str:
    return described(inputs if isinstance(inputs, tuple | list) else (inputs,))


def described(inputs: Any) -> str:
    """'4x6 float64, 4 int64, None': the inputs in words."""

    def one(x: Any) -> str:
        if isinstance(x, Tensor):
            shape = "x".join(map(str, x.shape)) or "scalar"
            return f"{shape} {str(x.dtype).removeprefix('torch.')}"
        return type(x).__name__ if isinstance(x, nn.Module | list | tuple | dict) else repr(x)

    return ", ".join(map(one, inputs))


def written(inputs: tuple[Any, ...]) -> str:
    """The inputs in words, and their numbers where they are few."""
    words = described(inputs)
    tensors = [x for x in inputs if isinstance(x, Tensor) and x.layout == torch.strided]
    if not tensors or weight(inputs) > SHOWN:
        return words
    return f"{words} = {', '.join(_numbers(x.detach().tolist()) for x in tensors)}"


def _numbers(x: Any) -> str:
    if isinstance(x, list):
        return f"[{', '.join(map(_numbers, x))}]"
    return f"{x:.4g}" if isinstance(x, float | complex) else str(x)
