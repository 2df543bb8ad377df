"""Squared distance of points under the inverse of a symmetric 2x2 matrix given by three numbers.

    k  = inv([[a, b], [b, c]])                       s = (a, b, c), ds: (3,)
    y  = p' k p                                      p: (n, 2), constant   y, g: (n,)
    dk = sum(g p p')
    ds = -k dk k, its off-diagonal number doubled

The first stage hands on one off-diagonal number of dk, the second fills in both places.
"""

import torch
from torch import Generator
from torch.autograd import Function

from bugzoo import Case, control
from bugzoo.cases import leaf

PLACES = torch.tensor([[0, 1], [1, 2]])


def reference(s, p):
    return torch.einsum("ni,ij,nj->n", p, torch.linalg.inv(s[PLACES]), p)


def points(gen: Generator):
    s = torch.rand(3, generator=gen, dtype=torch.float64) + torch.tensor([2.0, 0.0, 2.0])
    return leaf(s), torch.randn(5, 2, generator=gen, dtype=torch.float64)


@control(
    looks="the off-diagonal gradient of the first stage is half of what it should be",
    right="the second stage counts it twice: a convention split over two steps",
    seen=(
        "https://github.com/graphdeco-inria/gaussian-splatting/issues/551",
        "https://github.com/graphdeco-inria/gaussian-splatting/issues/1227",
    ),
    cases=[Case("points", points), Case("summed_loss", points, "ones")],
    reference=reference,
)
class HalvesMadeUp(Function):
    @staticmethod
    def forward(ctx, s, p):
        k = torch.linalg.inv(s[PLACES])
        ctx.save_for_backward(k, p)
        return ((p @ k) * p).sum(-1)

    @staticmethod
    def backward(ctx, g):
        k, p = ctx.saved_tensors
        u, v = p.unbind(-1)
        packed = torch.stack([g * u * u, g * u * v, g * v * v], -1).sum(-2)
        dk = -k @ packed[PLACES] @ k
        ds = torch.stack([dk[0, 0], 2 * dk[0, 1], dk[1, 1]])
        return ds, None
