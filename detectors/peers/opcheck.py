"""torch.library.opcheck, its four default tests, on the operation and its backward as custom ops.

schema: nothing declared unchanged is changed; autograd registration; fake tensors; AOT dispatch: the
traced gradients are the eager ones. Both ops are opaque, as kernels written elsewhere would be, and
their shapes are given. The alarm is its OpCheckError.
"""

import itertools
import math
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.library import custom_op
from torch.library import opcheck as check
from torch.testing._internal.optests.generate_tests import OpCheckError

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject, fresh, leaves, outputs

PEER = Peer(
    "opcheck",
    "of torch",
    "torch.library.opcheck. A part of torch, yet asked for like the others: it traces, 0.4 s a cell.",
    imports=("torch._dynamo", "torch._functorch.aot_autograd"),
)
NUMBER = itertools.count()  # a custom op can be defined once in a process


@detector(
    claims=("side_effect", "contract"),
    cost="about 15 F + 5 B, and a trace",
    blind_to="every wrong formula: it compares the backward with itself; leaks",
    thresholds={"0 failed tests of 4": "torch.library, exact; torch.testing's tolerances for AOT"},
    peer=PEER,
)
def opcheck(subject: Subject, gen: Generator) -> Verdict:
    inputs = subject.inputs(gen)
    wrt, ys = leaves(inputs), outputs(subject.op(*fresh(inputs)))
    if not wrt or not any(y.requires_grad for y in ys) or not subject.deterministic:
        return Verdict("abstain", because="no output carries a gradient, or the forward is random")
    forward = _registered(subject, inputs, [y.detach() for y in ys])
    given = [x.detach().clone().requires_grad_() for x in wrt]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(forward, (given,))
    except OpCheckError as error:
        said = re.sub(r"\s+", " ", str(error))[:300]
        return Verdict("alarm", math.inf, f"1 of 4 tests failed: {said}")
    return Verdict("clear", 0.0, "0 of 4 tests failed")


def _registered(subject: Subject, inputs: tuple[Any, ...], ys: Sequence[Tensor]) -> Any:
    """The operation of its leaves as `bugzoo_opcheck::forwardN`, with a backward and shapes."""
    number = next(NUMBER)

    def called(xs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        left = iter(xs)
        whole = fresh(inputs)
        return outputs(
            subject.op(
                *(next(left) if isinstance(x, Tensor) and x.requires_grad else x for x in whole)
            )
        )

    def forward(xs: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return [y.detach().clone(memory_format=torch.contiguous_format) for y in called(xs)]

    def backward(xs: list[Tensor], gs: list[Tensor]) -> list[Tensor]:
        own = [x.detach().requires_grad_() for x in xs]
        found = torch.autograd.grad(called(own), own, gs, allow_unused=True)
        return [
            torch.zeros_like(x) if d is None else d.clone(memory_format=torch.contiguous_format)
            for x, d in zip(own, found, strict=True)
        ]

    ahead = custom_op(
        f"bugzoo_opcheck::forward{number}",
        _elsewhere(forward),
        mutates_args=(),
        schema="(Tensor[] xs) -> Tensor[]",
    )
    back = custom_op(
        f"bugzoo_opcheck::backward{number}",
        _elsewhere(backward),
        mutates_args=(),
        schema="(Tensor[] xs, Tensor[] gs) -> Tensor[]",
    )
    ahead.register_fake(lambda xs: [xs[0].new_empty(y.shape, dtype=y.dtype) for y in ys])
    back.register_fake(lambda xs, gs: [x.new_empty(x.shape) for x in xs])

    def save(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[0])

    def differentiate(ctx: Any, gs: Sequence[Tensor | None]) -> list[Tensor]:
        dense = [torch.zeros_like(y) if g is None else g for y, g in zip(ys, gs, strict=True)]
        return back(list(ctx.saved_tensors), dense)

    ahead.register_autograd(differentiate, setup_context=save)
    return ahead


def _elsewhere(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` in a thread of its own: inside a kernel this one has autograd switched off."""

    def run(*args: Any) -> Any:
        found: list[Any] = []

        def work() -> None:
            try:
                found.append(f(*args))
            except BaseException as error:
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    return run
