"""Does one row of a batch reach the output of another? A number for whoever knows what axis 0 is.

    y = f(x),  y' = f(x with another row 0):     y'[1:] = y[1:]  where rows are independent

Asked once of the outermost module, in eval mode (a batch norm mixes rows in training by design), where
it takes one tensor and gives one with as many rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from bugzoo.checkup.target import untouched
from bugzoo.finding import Note

SEQUENCES = (nn.RNNBase, nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder)  # time first


Met = list[tuple[nn.Module, Tensor]]  # a module and what it was called with; one at most


def examine(met: Met) -> Iterator[Note]:
    if not met:
        return
    module, x = met[0]
    try:
        with untouched(module, (x,)), torch.no_grad(), torch.random.fork_rng(devices=[]):
            module.eval()
            y, other = module(x), module(_another(x))
            again = module(x)
    except Exception:
        return  # it does not like to be called alone
    if not isinstance(y, Tensor) or y.shape != other.shape or y.dim() < 1 or len(y) != len(x):
        return
    size = (
        float((y[1:] - other[1:]).abs().max()) if y.is_floating_point() and y[1:].numel() else 0.0
    )
    noise = float((y - again).abs().max()) if y.is_floating_point() else 0.0
    if size > 1e-4 * float(y.abs().max()) + 10 * noise:
        yield Note(
            "rows",
            f"another row 0 of its input changes other rows of {type(module).__name__}'s output, by up to "
            f"{size:.3g} (input {list(x.shape)}, eval mode): rows of a batch mix, if axis 0 is one",
        )


@contextmanager
def meeting() -> Iterator[Met]:
    """Of what runs in the block the first call in training of an outermost module with parameters."""
    found: Met = []
    depth = 0

    def enter(module: nn.Module, args: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth or found or not module.training or isinstance(module, SEQUENCES):
            return
        fits = len(args) == 1 and isinstance(args[0], Tensor) and isinstance(output, Tensor)
        if not fits or next(module.parameters(), None) is None or args[0].layout != torch.strided:
            return
        if args[0].dim() > 1 < len(args[0]) == (len(output) if output.dim() else 0):
            found.append((module, args[0].detach().clone()))

    handles = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _another(x: Tensor) -> Tensor:
    """The same, with row 0 as far from itself as another row is."""
    made = x.clone()
    made[0] = x[1] if not torch.equal(x[0], x[1]) else x.flip(-1)[0]
    return made
