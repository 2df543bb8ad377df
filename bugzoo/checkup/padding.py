"""Rows of a table that get no gradient by contract: `padding_idx` of torch's own embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bugzoo.checkup.target import Target

PLACES = {F.embedding: 2, F.embedding_bag: 10}  # of padding_idx among the arguments


class Tables(TorchFunctionMode):
    """Sees the embeddings that are looked up while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[Tensor, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in PLACES:
            place = PLACES[func]
            row = kwargs.get("padding_idx", args[place] if len(args) > place else None)
            table = kwargs.get("weight", args[1] if len(args) > 1 else None)
            if isinstance(row, int) and isinstance(table, Tensor):
                self.met.append((table, row))
        return func(*args, **kwargs)

    def padding(self, leaves: list[tuple[str, Tensor]]) -> dict[str, int]:
        """Name of a leaf -> its row that is left out."""
        names = {id(x): name for name, x in leaves}
        return {names[id(table)]: row % len(table) for table, row in self.met if id(table) in names}


def mask(target: Target, leaves: list[tuple[str, Tensor]]) -> dict[int, Tensor]:
    """For leaf number n the elements that must not move."""
    found = {}
    for n, (name, x) in enumerate(leaves):
        row = target.padding.get(name)
        if row is not None and row < len(x):
            found[n] = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
            found[n][row] = True
    return found
