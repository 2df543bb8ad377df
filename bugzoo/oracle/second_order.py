"""Is the derivative of the gradient right, where the author promises a second derivative?

s = <dx(x, g), v>;   compare ds/dx and ds/dg with those of the reference
"""

import torch
from torch import Tensor

from bugzoo.oracle.probe import Probe, again, leaves, spread
from bugzoo.oracle.value import furthest
from bugzoo.oracle.witness import Witness


def examine(probe: Probe) -> Witness:
    """Compare with the reference differentiated twice; awake too when no graph is recorded."""
    if not probe.truth.twice or probe.truth.reference is None:
        return Witness("second_order", False, "none", "no second derivative is promised")
    inputs = probe.inputs()
    kept = again(inputs)
    y = probe.outputs(inputs)
    g = tuple(b.clone().requires_grad_() for b in probe.cotangents(y))
    v = tuple(spread(x.shape, probe.gen, x.dtype) for x in leaves(inputs))
    z = probe.references(kept)
    g_kept = again(g)
    true = _second(z, kept, g_kept, v)
    got = _second(y, inputs, g, v)
    worst = furthest((*leaves(inputs), *g), got, true, (*g, *v))
    awake = worst.error > 10 * probe.case.rtol  # two derivatives round more than one
    return Witness(
        "second_order", awake, "gradient of <dx, v>", worst.words, worst.error,
        reference="autograd of the reference, twice",
    )  # fmt: skip


def _second(
    y: tuple[Tensor, ...], inputs: tuple, g: tuple[Tensor, ...], v: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    wrt = leaves(inputs)
    dx = torch.autograd.grad(y, wrt, g, create_graph=True, allow_unused=True)
    pairs = [(d, b) for d, b in zip(dx, v, strict=True) if d is not None and d.requires_grad]
    if not pairs:
        return tuple(None for _ in (*wrt, *g))
    s = sum((d * b).sum() for d, b in pairs)
    assert isinstance(s, Tensor)
    return torch.autograd.grad(s, (*wrt, *g), allow_unused=True)
