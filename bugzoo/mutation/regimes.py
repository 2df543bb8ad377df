"""Regimes of inputs that a specimen's own cases may leave out: edges, ties, layouts of the cotangent.

They are asked only of a mutant that is equal in every case of its specimen, so that "equivalent"
means something. A regime in which the right implementation itself differs from its reference is
left out.
"""

import torch
from torch import Tensor

from bugzoo.cases import changed, consumed
from bugzoo.model import Case

LAYOUTS = ("narrow", "transposed", "expanded", "large", "ones")


def regimes(case: Case) -> list[Case]:
    """Variations of one case, their names after a plus sign."""
    edits = {"zeros": zeros, "rounded": rounded, "alike": alike, "repeated": repeated}
    return [
        *(changed(case, f"+{name}", edit) for name, edit in edits.items()),
        *(consumed(case, layout, f"+{layout}") for layout in LAYOUTS if layout != case.cotangent),
    ]


def zeros(*tensors: Tensor) -> None:
    """Every third number is 0: the kinks of most activations, and the poles of most quotients."""
    for x in _floating(tensors):
        x.copy_(torch.where(torch.arange(x.numel()).reshape(x.shape) % 3 == 0, 0.0, x))


def rounded(*tensors: Tensor) -> None:
    """Halves: many ties."""
    for x in _floating(tensors):
        x.copy_((2 * x).round() / 2)


def alike(*tensors: Tensor) -> None:
    """All numbers of a tensor are equal: no variance, every maximum shared."""
    for x in _floating(tensors):
        x.fill_(x.reshape(-1)[0].item() if x.numel() else 0.0)


def repeated(*tensors: Tensor) -> None:
    """All indices are the first one."""
    for x in tensors:
        if isinstance(x, Tensor) and x.dtype == torch.int64 and x.numel():
            x.fill_(int(x.reshape(-1)[0]))


def _floating(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    return [x for x in tensors if isinstance(x, Tensor) and x.is_floating_point()]
