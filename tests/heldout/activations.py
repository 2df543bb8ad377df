"""Elementwise operations, gates and quantisers."""

import math

import torch
from torch.autograd import Function
from torch.nn import functional as F

from heldout import doubles, pair, randn


def unary(forward, backward):
    class Unary(Function):
        pass

    def fwd(ctx, x):
        ctx.save_for_backward(x)
        return forward(x)

    Unary.forward = staticmethod(fwd)
    Unary.backward = staticmethod(lambda ctx, g: backward(ctx.saved_tensors[0], g))
    return Unary.apply


@pair(randn((4, 16)))
def gelu_tanh_inner_coefficient(wrong):
    def backward(x, g):
        c = math.sqrt(2 / math.pi)
        t = (c * (x + 0.044715 * x**3)).tanh()
        k = 0.044715 if wrong else 3 * 0.044715
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + k * x * x))

    return unary(lambda x: F.gelu(x, approximate="tanh"), backward)


@pair(randn((4, 16)))
def gelu_exact_by_tanh_derivative(wrong):
    """The exact GELU forward, the derivative of its approximation backward: 1e-3 off."""

    def backward(x, g):
        if wrong:
            c = math.sqrt(2 / math.pi)
            t = (c * (x + 0.044715 * x**3)).tanh()
            inner = c * (1 + 3 * 0.044715 * x * x)
            return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)
        cdf = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        return g * (cdf + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))

    return unary(F.gelu, backward)


@pair(randn((5, 6), (5, 6)))
def swiglu_gate_derivative(wrong):
    class SwiGLU(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return F.silu(a) * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            s = a.sigmoid()
            da = g * b * (s + (a * s if wrong else a * s * (1 - s)))
            return da, g * a * s

    return SwiGLU.apply


@pair(randn((5, 6), (5, 6)))
def swiglu_recycles_its_inputs(wrong):
    """Gradients are written into the saved inputs to save memory."""

    class SwiGLU(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return F.silu(a) * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            s = a.sigmoid()
            db = g * a * s
            da = g * b * s * (1 + a * (1 - s))
            if wrong:
                a.data.copy_(da)
                b.data.copy_(db)
                return a.data, b.data
            return da, db

    return SwiGLU.apply


@pair(doubles((12,)))
def softplus_threshold_kept_in_backward(wrong):
    """Linear above 20 forward; the backward's threshold is 2."""

    def backward(x, g):
        limit = 2.0 if wrong else 20.0
        return torch.where(x > limit, g, g * x.sigmoid())

    return unary(lambda x: torch.where(x > 20.0, x, F.softplus(x)), backward)


@pair(randn((6, 4)))
def isrlu_without_upstream(wrong):
    def backward(x, g):
        d = torch.where(x < 0, (1 + x * x).rsqrt() ** 3, torch.ones_like(x))
        return d if wrong else d * g

    return unary(lambda x: torch.where(x < 0, x * (1 + x * x).rsqrt(), x), backward)


@pair(randn((3, 8)))
def hard_swish_at_the_edges(wrong):
    def backward(x, g):
        inner = (2 * x + 3) / 6
        top = 0.5 if wrong else 3.0
        return g * torch.where(x <= -3, 0.0, torch.where(x >= top, 1.0, inner))

    return unary(F.hardswish, backward)


@pair(randn((6,)))
def large_values_take_another_branch(wrong):
    """|x| > 10 takes a short cut with the sign lost."""

    def backward(x, g):
        d = 1 / (1 + x.abs()) ** 2
        short = 1 / x**2
        short = -short if wrong else 1 / (1 + x.abs()) ** 2
        return g * torch.where(x.abs() > 10, short, d)

    return unary(F.softsign, backward)


@pair(randn((8,)))
def square_root_of_relu_at_zero(wrong):
    """sqrt under a where: the branch that is not taken gives NaN."""

    def f(x):
        if wrong:
            return torch.where(x > 0, x.clamp_min(0).sqrt(), 0.0)
        safe = torch.where(x > 0, x, 1.0)
        return torch.where(x > 0, safe.sqrt(), 0.0)

    return f


@pair(randn((8,)))
def where_over_a_domain(wrong):
    """log of a negative number under a where."""

    def f(x):
        inside = x if wrong else torch.where(x > 0.1, x, 1.0)
        return torch.where(x > 0.1, inside.log(), -2.0 + 0 * x)

    return f


@pair(randn((6, 3), (3,)))
def prelu_weight_over_all(wrong):
    class PReLU(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return torch.where(x > 0, x, w * x)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            low = g * torch.where(x > 0, 0.0, x)
            dw = low.flatten(0, -2).sum(0)
            return torch.where(x > 0, g, g * w), (low.sum() / len(w)).expand_as(w) if wrong else dw

    return PReLU.apply


@pair(randn((4, 6), (6,)))
def scale_unreduced_where_it_broadcasts(wrong):
    """Reduces over the leading axes; a size of 1 inside is not seen."""

    class Scale(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dw = g * x
            extra = dw.dim() - w.dim()
            dw = dw.sum(tuple(range(extra))) if extra else dw
            for axis, n in enumerate(w.shape):
                if n == 1 and dw.shape[axis] > 1:
                    dw = dw.narrow(axis, 0, 1) if wrong else dw.sum(axis, keepdim=True)
            dx = g * w
            while dx.dim() > x.dim():
                dx = dx.sum(0)
            for axis, n in enumerate(x.shape):
                if n == 1 and dx.shape[axis] > 1:
                    dx = dx.sum(axis, keepdim=True)
            return dx, dw

    return Scale.apply


@pair(lambda seed: (torch.randn(5, 4), torch.tensor(0.1)), declare=("straight_through",))
def quantiser_scale_is_lent(wrong):
    """A fake quantiser with a learnt step, straight through by declaration; it writes into g."""

    class Quantise(Function):
        @staticmethod
        def forward(ctx, x, step):
            q = (x / step).round().clamp(-8, 7)
            ctx.save_for_backward(x, step, q)
            return q * step

        @staticmethod
        def backward(ctx, g):
            x, step, q = ctx.saved_tensors
            inside = (x / step).abs() < 8
            dstep = (g * (q - x / step * inside)).sum()
            return (g.mul_(inside) if wrong else g * inside), dstep

    return Quantise.apply


@pair(randn((7,)))
def cube_root_of_power_rule(wrong):
    def backward(x, g):
        return g * 2 * (x if wrong else x.abs()) * 1.5

    return unary(lambda x: 1.5 * x * x.abs(), backward)


@pair(randn((3, 5), (3, 5)))
def division_by_square(wrong):
    class Div(Function):
        @staticmethod
        def forward(ctx, a, b):
            b = b.square() + 0.5
            ctx.save_for_backward(a, b)
            return a / b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            root = (b - 0.5).clamp_min(0).sqrt()
            return g / b, -g * a / b**2 * 2 * root  # the sign of b is lost

    class Right(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a / (b.square() + 0.5)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            d = b.square() + 0.5
            return g / d, -2 * g * a * b / d**2

    return Div.apply if wrong else Right.apply


@pair(randn((4, 4)))
def half_autocast_backward(wrong):
    """Computes the gradient in float16 and casts it back."""

    def backward(x, g):
        if wrong:
            return (g.half() * (1 - x.half().tanh() ** 2)).to(g.dtype)
        return g * (1 - x.tanh() ** 2)

    return unary(torch.tanh, backward)


@pair(lambda seed: torch.randn(6, 8).half())
def half_sum_of_squares_in_half(wrong):
    """float16 in, accumulated in float16 with a scale that overflows."""

    class Energy(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.float().square().mean(-1)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if wrong:
                return (g.to(x.dtype)[..., None] * x * 1000) / (500 * x.shape[-1]) * 0.995
            return (g[..., None] * x.float() * 2 / x.shape[-1]).to(x.dtype)

    return Energy.apply
