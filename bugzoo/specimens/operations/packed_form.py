"""Quadratic form of points with a symmetric 2x2 matrix that is given by its three numbers.

    y  = a u u + 2 b u v + c v v                     p = (u, v), dp: (n, 2)   y, g: (n,)
    dp = 2 g (a u + b v, b u + c v)                  s = (a, b, c), ds: (3,)
    ds = sum(g u u), sum(2 g u v), sum(g v v)

b stands in two places of the matrix, so its gradient has two terms.
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal


def reference(p, s):
    matrix = s[torch.tensor([[0, 1], [1, 2]])]
    return torch.einsum("ni,ij,nj->n", p, matrix, p)


def on_the_axes(p, s):
    p[::2, 0] = 0.0
    p[1::2, 1] = 0.0


def isotropic(p, s):
    s[1] = 0.0
    s[2] = s[0]


POINTS = normal("points", (5, 2), (3,))
CASES = [
    POINTS,
    normal("one_point", (1, 2), (3,)),
    changed(POINTS, "isotropic", isotropic),
    changed(POINTS, "on_the_axes", on_the_axes),
]


@correct(cases=CASES, reference=reference)
class PackedForm(Function):
    @staticmethod
    def forward(ctx, p, s):
        ctx.save_for_backward(p, s)
        u, v = p.unbind(-1)
        return s[0] * u * u + 2 * s[1] * u * v + s[2] * v * v

    @staticmethod
    def backward(ctx, g):
        p, s = ctx.saved_tensors
        u, v = p.unbind(-1)
        du = 2 * g * (s[0] * u + s[1] * v)
        dv = 2 * g * (s[1] * u + s[2] * v)
        ds = torch.stack([g * u * u, 2 * g * u * v, g * v * v], -1).sum(-2)
        return torch.stack([du, dv], -1), ds


@bug(
    wrong="the off-diagonal number gets the gradient of one of its two places",
    family="scaling",
    channel="value",
    seen=(
        "https://github.com/WebODM/OpenSplat/issues/29",
        "https://github.com/nerfstudio-project/gsplat/pull/139",
    ),
    shown_by=("points", "one_point", "isotropic"),
    hidden_by="on_the_axes",
)
class OffDiagonalOnce(PackedForm):
    """In one of the real ones a second error, a factor 2 in the next step, nearly made up for it:
    tested together the two were right, and mending one alone made the pictures worse."""

    @staticmethod
    def backward(ctx, g):
        p, s = ctx.saved_tensors
        u, v = p.unbind(-1)
        du = 2 * g * (s[0] * u + s[1] * v)
        dv = 2 * g * (s[1] * u + s[2] * v)
        ds = torch.stack([g * u * u, g * u * v, g * v * v], -1).sum(-2)
        return torch.stack([du, dv], -1), ds
