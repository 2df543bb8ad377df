"""Errors that the inputs given keep hidden: each shows on one derived set of inputs alone."""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from heldout import doubles, lookalike, pair, randn


def _signal(seed):
    torch.manual_seed(seed)
    return torch.randn(2, 8), 4, 4


@pair(_signal)
def windows_that_overlap(wrong):
    """Windows of 4 at every 4th place given; overlapping ones are written, not added."""

    class Windows(Function):
        @staticmethod
        def forward(ctx, x, width, step):
            ctx.save_for_backward(x)
            ctx.width, ctx.step = width, step
            return x.unfold(-1, width, step).clone()

        @staticmethod
        def backward(ctx, g):
            d = torch.zeros_like(ctx.saved_tensors[0])
            for n in range(g.shape[-2]):
                part = d[..., n * ctx.step : n * ctx.step + ctx.width]
                if wrong:
                    part.copy_(g[..., n, :])
                else:
                    part.add_(g[..., n, :])
            return d, None, None

    return Windows.apply


def _scores(seed):
    torch.manual_seed(seed)
    return torch.randn(4, 5), torch.randn(5, 3), 0.0


@pair(_scores)
def dropout_that_was_off(wrong):
    """p = 0.0 given; the mask is drawn again."""

    class Dropped(Function):
        @staticmethod
        def forward(ctx, x, w, p):
            keep = (torch.rand_like(x) >= p).to(x) / (1 - p)
            ctx.save_for_backward(x, w, keep)
            ctx.p = p
            return (x * keep) @ w

        @staticmethod
        def backward(ctx, g):
            x, w, keep = ctx.saved_tensors
            if wrong:
                keep = (torch.rand_like(x) >= ctx.p).to(x) / (1 - ctx.p)
            return (g @ w.T) * keep, (x * keep).T @ g, None

    return Dropped.apply


def _half(seed):
    torch.manual_seed(seed)
    return (torch.randn(4, 6).half(),)


@pair(_half)
def half_gradient_that_vanishes(wrong):
    """Squares that pass 65504 in half give 1 / inf = 0, which is finite."""

    class Unit(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return (wide * (wide.square().mean(-1, keepdim=True) + 1e-3).rsqrt()).to(x.dtype)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            kind = x.dtype
            if not wrong:
                x, g = (t.to(torch.promote_types(kind, torch.float32)) for t in (x, g))
            r = ((x * x).mean(-1, keepdim=True) + 1e-3).rsqrt()
            y = x * r
            return (r * (g - y * (g * y).mean(-1, keepdim=True))).to(kind)

    return Unit.apply


def _inside(seed):
    torch.manual_seed(seed)
    return (torch.rand(10) * 0.5 - 0.2,)


class _Clipped(Function):
    """The forward of both; what inherits it writes no bound of its own on one side."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)


@pair(_inside)
def bound_that_is_never_passed(wrong):
    """clamp(-1, 1), inherited; the lower bound is forgotten in the backward."""

    class Mine(_Clipped):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (x < 1) if wrong else g * (x < 1) * (x > -1)

    return Mine.apply


@pair(doubles((1, 5, 5)))
def flat_image(wrong):
    """Total variation: a root of two squares, both 0 only where neighbours on two sides are equal."""

    def fn(x):
        down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
        return (down.square() + right.square() + (0 if wrong else 1e-8)).sqrt().sum()

    return fn


def _labels(seed):
    torch.manual_seed(seed)
    return torch.randn(8, requires_grad=True), (torch.rand(8) > 0.5).float()


@pair(_labels)
def mean_of_a_matrix(wrong):
    """A mean over all elements; the gradient is divided by the rows."""

    class Loss(Function):
        @staticmethod
        def forward(ctx, x, t):
            ctx.save_for_backward(x, t)
            return (F.softplus(x) - x * t).mean()

        @staticmethod
        def backward(ctx, g):
            x, t = ctx.saved_tensors
            return g * (x.sigmoid() - t) / (len(x) if wrong else x.numel()), None

    return Loss.apply


@pair(doubles((4, 3)))
def part_of_a_larger_buffer(wrong):
    """Saved inputs are read from where their storage begins."""

    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            at = 0 if wrong else x.storage_offset()
            return g * x.as_strided(x.shape, x.stride(), at).cos()

    return Sine.apply


@pair(randn((5,), dtype=torch.complex128))
def modulus_at_zero(wrong):
    """z / |z| of a complex zero."""

    class Modulus(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.abs()

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * (z / z.abs() if wrong else z.sgn())

    return Modulus.apply


def _padded(seed):
    torch.manual_seed(seed)
    return torch.rand(4, 5), torch.arange(5)[None] < torch.tensor([5, 4, 3, 2])[:, None]


@pair(_padded)
def logarithm_of_padding(wrong):
    """where() after the logarithm: a padding of 0 gives 0 times inf."""

    def fn(x, mask):
        if wrong:
            return torch.where(mask, x.log(), 0.0).sum(-1)
        return torch.where(mask, x, 1.0).log().sum(-1)

    return fn


def _grouped(seed):
    torch.manual_seed(seed)
    return torch.randn(6, 3), torch.randn(3, 3, 4), torch.tensor([2, 1, 3])


@pair(_grouped)
def group_without_rows(wrong):
    """A weight for each group of rows; a group that has none keeps what its buffer held."""

    class Grouped(Function):
        @staticmethod
        def forward(ctx, x, w, counts):
            ctx.save_for_backward(x, w, counts)
            return torch.cat([p @ m for p, m in zip(x.split(counts.tolist()), w, strict=True)])

        @staticmethod
        def backward(ctx, g):
            x, w, counts = ctx.saved_tensors
            counts = counts.tolist()
            dw = torch.ones_like(w) if wrong else torch.zeros_like(w)
            dx = torch.zeros_like(x)
            for n, rows in enumerate(torch.arange(len(x)).split(counts)):
                dx[rows] = g[rows] @ w[n].T
                if len(rows):
                    dw[n] = x[rows].T @ g[rows]
            return dx, dw, None

    return Grouped.apply


def _square(seed):
    torch.manual_seed(seed)
    return (torch.randn(4, 4),)


@lookalike(_square)
def first_eigenvector():
    """Of a matrix that holds one number throughout the vectors are any, and torch's gradient NaN."""

    def fn(x):
        vectors = torch.linalg.eigh(x + x.mT)[1][..., -1:]
        return vectors @ vectors.mT

    return fn


@lookalike(_scores)
def numbers_that_no_seed_fixes():
    """Dropout from a generator of its own, off as given: with p = 0.25 nothing can be compared."""
    own = torch.Generator().manual_seed(1)

    def fn(x, w, p):
        return (x * (torch.rand(x.shape, generator=own) >= p)) @ w

    return fn


def _listed(seed):
    torch.manual_seed(seed)
    return torch.randn(6, requires_grad=True), torch.randn(6).softmax(0)


@lookalike(_listed)
def loss_of_one_list():
    """A softmax over the only axis: a matrix is not the same list, though the forward takes it."""

    class Listed(Function):
        @staticmethod
        def forward(ctx, x, t):
            ctx.save_for_backward(x, t)
            return -(t * x.log_softmax(0)).sum()

        @staticmethod
        def backward(ctx, g):
            x, t = ctx.saved_tensors
            return g * (x.softmax(-1) * t.sum() - t), None

    return Listed.apply
