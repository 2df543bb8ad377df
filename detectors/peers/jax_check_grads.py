"""JAX's check_grads, reverse mode, order 1, on the operation as a jax.custom_vjp over NumPy arrays.

    <u, vjp(g)>  ==  <numerical jvp(u), g>          one normal direction each, drawn from RandomState(0)

The alarm is its AssertionError. Forward mode is left out: a custom_vjp has none.
"""

import numpy as np
import torch
from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._difference import point
from detectors.peers._driving import of_leaves, shown, untouched

PEER = Peer(
    "jax",
    "0.10.2",
    "jax.test_util.check_grads: a random directional derivative against the vjp.",
    packages=("jax==0.10.2", "jaxlib==0.10.2", "ml_dtypes==0.5.3", "opt_einsum==3.4.0"),
    imports=("jax", "jax.test_util"),
)


@detector(
    cost="3 F + 1 B, whatever the size",
    blind_to="errors below 1e-5; which element is wrong; special cotangents; dtypes below float64; side "
    "effects; leaks; repeating it adds nothing",
    thresholds={"eps = 1e-4": "jax", "rtol = atol = 1e-5 in float64": "jax"},
    peer=PEER,
)
def jax_check_grads(subject: Subject, gen: Generator) -> Verdict:
    import jax
    from jax.test_util import check_grads

    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    op = of_leaves(subject, at.inputs)

    def leaves(arrays):
        return [torch.from_numpy(np.array(a, dtype=np.float64)).requires_grad_() for a in arrays]

    def forward(*arrays):
        return tuple(b.detach().numpy() for b in op(*leaves(arrays)))

    def backward(arrays, g):
        xs = leaves(arrays)
        ys = op(*xs)
        if not any(b.requires_grad for b in ys):
            return tuple(np.zeros(x.shape) for x in xs)
        gs = [torch.from_numpy(np.array(c, dtype=np.float64)) for c in g]
        ds = torch.autograd.grad(ys, xs, gs, allow_unused=True)
        return tuple(np.zeros(x.shape) if d is None else d.detach().numpy() for x, d in zip(xs, ds))

    shapes = tuple(jax.ShapeDtypeStruct(b.shape, np.float64) for b in at.y)
    back = tuple(jax.ShapeDtypeStruct(x.shape, np.float64) for x in at.wrt)
    f = jax.custom_vjp(lambda *xs: jax.pure_callback(forward, shapes, *xs))
    f.defvjp(
        lambda *xs: (f(*xs), xs),
        lambda xs, g: jax.pure_callback(backward, back, xs, tuple(g)),
    )
    with untouched(gen), jax.enable_x64(True):
        args = tuple(jax.numpy.asarray(x.detach().numpy()) for x in at.wrt)
        try:
            check_grads(f, args, order=1, modes=("rev",))
        except AssertionError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            numbers = [line for line in lines if "ACTUAL" in line or "Max" in line]
            return Verdict(
                "alarm", float("inf"), f"1 mismatch: {shown('; '.join(numbers) or lines[0])}"
            )
    return Verdict("clear", 0.0, "<u, vjp(g)> within 1e-5")
