"""A ledger of saved tensors: what was packed, and whether it is still the same.

    with ledger.open():                 every tensor saved for backward is sealed with a copy
        y = op(x)
    ...backward...                      each is compared with its copy when it is unpacked
    ledger.audit()                      and all are compared once more

Hooks on saved tensors switch off autograd's own version check, so the ledger has one. `pack` hands
autograd a detached alias: the tensor itself would be a reference cycle through its graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


@dataclass(frozen=True)
class Seal:
    alias: Tensor
    copy: Tensor
    version: int
    number: int


class Ledger:
    """`changed` holds one line for every saved tensor that was written into after it was saved.

    `exempt` says which tensors may change: buffers, that their operation updates itself.
    """

    def __init__(self, exempt: Callable[[Tensor], bool] = lambda t: False):
        self.exempt = exempt
        self.seals: list[Seal] = []
        self.changed: dict[int, str] = {}
        self.count = 0

    def open(self) -> Any:
        return saved_tensors_hooks(self._pack, self._unpack)

    def audit(self) -> None:
        """Compare every tensor sealed since the last audit, and let go of it."""
        for seal in self.seals:
            self._compare(seal)
        self.seals.clear()

    def _pack(self, t: Tensor) -> Any:
        if self.exempt(t) or t.layout != torch.strided:
            return t.detach()
        seal = Seal(t.detach(), t.detach().clone(), t._version, self.count)
        self.count += 1
        self.seals.append(seal)
        return seal

    def _unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        self._compare(packed)
        return packed.alias

    def _compare(self, seal: Seal) -> None:
        now, then = seal.alias, seal.copy
        differ = ~torch.isclose(now, then, rtol=0.0, atol=0.0, equal_nan=True).reshape(-1)
        if differ.any():
            at = int(differ.nonzero()[0])
            self.changed[seal.number] = (
                f"{int(differ.sum())} of {now.numel()} elements changed since it was saved: "
                f"[{at}] was {then.reshape(-1)[at].item():.6g}, is {now.reshape(-1)[at].item():.6g}"
            )
        elif now._version != seal.version:
            self.changed[seal.number] = (
                f"written into since it was saved: version {now._version}, expected {seal.version}"
            )
