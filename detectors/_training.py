"""What the training detectors share: names of parameters, and hooks that are always taken off."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

STEPS = 24
Named = dict[int, tuple[str, Tensor]]  # id of a parameter -> its name and itself


def parameters(run: Any) -> Named:
    """The trained parameters of all models of the run."""
    several = len(run.models) > 1
    return {
        id(p): (f"model{m}.{name}" if several else name, p)
        for m, model in enumerate(run.models)
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def owned(optimizer: Any) -> list[Tensor]:
    """The parameters that this optimizer updates."""
    return [p for group in optimizer.param_groups for p in group["params"]]


@contextmanager
def hooked(handles: Iterable[Any]) -> Iterator[None]:
    """Hooks for the time of a run: `with hooked([p.register_hook(look) for p in ...]): ...`"""
    placed = list(handles)
    try:
        yield
    finally:
        for handle in placed:
            handle.remove()
