"""What the adapters share: the subject in the shape that a tool expects, and nothing left behind."""

import io
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from bugzoo.subject import Subject, fresh, outputs


@contextmanager
def untouched(gen: Generator) -> Iterator[io.StringIO]:
    """Global random states drawn from `gen` inside and put back after; prints are collected.

    Many tools read or seed the global generators, and some set the default dtype.
    """
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    number = int(torch.randint(2**31, (), generator=gen))
    torch.default_generator.manual_seed(number)
    np.random.seed(number)
    random.seed(number)
    try:
        with redirect_stdout(io.StringIO()) as said, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def raised_in(error: BaseException, package: str) -> bool:
    """The error was raised by the package's own lines, not by the subject under it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(package)


def of_leaves(subject: Subject, inputs: tuple[Any, ...]) -> Callable[..., tuple[Tensor, ...]]:
    """The operation as a function of the inputs that require grad; the others stay as they are.

    A tool that differentiates every floating tensor must not be handed a target or a mask.
    """

    def f(*leaves: Tensor) -> tuple[Tensor, ...]:
        left = iter(leaves)
        full = [
            next(left) if isinstance(x, Tensor) and x.requires_grad else x for x in fresh(inputs)
        ]
        return outputs(subject.op(*full))

    return f


def again(subject: Subject, gen: Generator) -> Callable[[], Any]:
    """A maker of runs: every call starts the same run afresh."""
    state = gen.get_state()
    return lambda: subject.start(Generator().set_state(state))


def together(run: Any) -> nn.Module:
    """All models of the run as one module."""
    return run.models[0] if len(run.models) == 1 else nn.ModuleList(run.models)


def shown(text: str) -> str:
    """The first line of what a tool says, blanks squeezed."""
    return " ".join(text.strip().partition("\n")[0].split())[:300]
