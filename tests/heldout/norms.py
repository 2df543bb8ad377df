"""Normalisations with a backward of their own."""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from heldout import doubles, pair, randn


@pair(randn((8, 16), (16,), (16,)))
def layer_norm_weight_of_rank_two(wrong):
    """Sums the weight's gradient over axis 0 alone: a third axis is not expected."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            mean = x.mean(-1, keepdim=True)
            rstd = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            xhat = (x - mean) * rstd
            ctx.save_for_backward(xhat, rstd, weight)
            return xhat * weight + bias

        @staticmethod
        def backward(ctx, g):
            xhat, rstd, weight = ctx.saved_tensors
            axes = tuple(range(g.dim() - 1))
            if wrong and g.dim() > 2:
                axes = (g.dim() - 2,)
            dw, db = (g * xhat).sum(axes), g.sum(axes)
            while dw.dim() > 1:
                dw, db = dw[0], db[0]
            gh = g * weight
            dx = rstd * (gh - gh.mean(-1, keepdim=True) - xhat * (gh * xhat).mean(-1, keepdim=True))
            return dx, dw, db

    return LayerNorm.apply


@pair(randn((4, 6, 5, 5)))
def batch_norm_without_variance_term(wrong):
    class BatchNorm(Function):
        @staticmethod
        def forward(ctx, x):
            axes = (0, *range(2, x.dim()))
            mean = x.mean(axes, keepdim=True)
            rstd = (x.var(axes, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            xhat = (x - mean) * rstd
            ctx.save_for_backward(xhat, rstd)
            ctx.axes = axes
            return xhat

        @staticmethod
        def backward(ctx, g):
            xhat, rstd = ctx.saved_tensors
            dx = g - g.mean(ctx.axes, keepdim=True)
            if not wrong:
                dx = dx - xhat * (g * xhat).mean(ctx.axes, keepdim=True)
            return rstd * dx

    return BatchNorm.apply


@pair(randn((64, 8)))
def batch_norm_with_one_mean_too_many(wrong):
    """The extra term is of the order 1 / m ** 2."""

    class BatchNorm(Function):
        @staticmethod
        def forward(ctx, x):
            rstd = (x.var(0, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            xhat = (x - x.mean(0, keepdim=True)) * rstd
            ctx.save_for_backward(xhat, rstd)
            return xhat

        @staticmethod
        def backward(ctx, g):
            xhat, rstd = ctx.saved_tensors
            m = len(g)
            dvar = (g * xhat).mean(0)
            dx = g - g.mean(0) - xhat * dvar
            if wrong:
                dx = dx - g.sum(0) / m**2
            return rstd * dx

    return BatchNorm.apply


@pair(randn((2, 8, 4, 4)))
def group_norm_mean_over_all_groups(wrong):
    class GroupNorm(Function):
        @staticmethod
        def forward(ctx, x):
            v = x.reshape(x.shape[0], 2, -1)
            rstd = (v.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            xhat = (v - v.mean(-1, keepdim=True)) * rstd
            ctx.save_for_backward(xhat, rstd)
            return xhat.reshape(x.shape)

        @staticmethod
        def backward(ctx, g):
            xhat, rstd = ctx.saved_tensors
            v = g.reshape(xhat.shape)
            mean = v.mean((1, 2), keepdim=True) if wrong else v.mean(-1, keepdim=True)
            dx = rstd * (v - mean - xhat * (v * xhat).mean(-1, keepdim=True))
            return dx.reshape(g.shape)

    return GroupNorm.apply


@pair(lambda seed: (torch.randn(2, 4, 6, 6, dtype=torch.float64), 1e-5))
def instance_norm_unbiased(wrong):
    """n - 1 in the forward, n in the backward."""

    class InstanceNorm(Function):
        @staticmethod
        def forward(ctx, x, eps):
            mean = x.mean((2, 3), keepdim=True)
            n = x.shape[2] * x.shape[3]
            rstd = (((x - mean) ** 2).sum((2, 3), keepdim=True) / (n - 1) + eps).rsqrt()
            xhat = (x - mean) * rstd
            ctx.save_for_backward(xhat, rstd)
            return xhat

        @staticmethod
        def backward(ctx, g):
            xhat, rstd = ctx.saved_tensors
            n = g.shape[2] * g.shape[3]
            inner = (g * xhat).sum((2, 3), keepdim=True) / (n if wrong else n - 1)
            return rstd * (g - g.mean((2, 3), keepdim=True) - xhat * inner), None

    return InstanceNorm.apply


@pair(randn((3, 10), (10,)))
def rms_norm_mean_as_sum(wrong):
    class RMSNorm(Function):
        @staticmethod
        def forward(ctx, x, weight):
            r = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
            ctx.save_for_backward(x, weight, r)
            return x * r * weight

        @staticmethod
        def backward(ctx, g):
            x, weight, r = ctx.saved_tensors
            gw = g * weight
            inner = (gw * x).sum(-1, keepdim=True) / (1 if wrong else x.shape[-1])
            dx = r * gw - x * r**3 * inner
            return dx, (g * x * r).reshape(-1, x.shape[-1]).sum(0)

    return RMSNorm.apply


@pair(randn((2, 6, 8), (2, 6, 8), (8,)))
def fused_residual_rms_norm(wrong):
    """Returns the sum too, for the next residual; its cotangent is forgotten."""

    class Fused(Function):
        @staticmethod
        def forward(ctx, x, residual, weight):
            s = x + residual
            r = (s.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
            ctx.save_for_backward(s, weight, r)
            return s * r * weight, s

        @staticmethod
        def backward(ctx, g, gs):
            s, weight, r = ctx.saved_tensors
            gw = g * weight
            ds = r * gw - s * r**3 * (gw * s).mean(-1, keepdim=True)
            if not wrong:
                ds = ds + gs
            return ds, ds, (g * s * r).flatten(0, -2).sum(0)

    return Fused.apply


@pair(doubles((5, 4)))
def normalise_rows_zero(wrong):
    """x / |x|, guarded in the forward alone."""

    class Normalise(Function):
        @staticmethod
        def forward(ctx, x):
            n = x.norm(dim=-1, keepdim=True)
            y = x / n.clamp_min(1e-12)
            ctx.save_for_backward(y, n)
            return y

        @staticmethod
        def backward(ctx, g):
            y, n = ctx.saved_tensors
            dx = g - y * (g * y).sum(-1, keepdim=True)
            return dx / n if wrong else dx / n.clamp_min(1e-12)

    return Normalise.apply


@pair(randn((6, 5)))
def norm_of_rows_at_zero(wrong):
    class Norm(Function):
        @staticmethod
        def forward(ctx, x):
            n = x.norm(dim=-1)
            ctx.save_for_backward(x, n)
            return n

        @staticmethod
        def backward(ctx, g):
            x, n = ctx.saved_tensors
            if wrong:
                return (g / n)[..., None] * x
            return torch.where(n == 0, 0.0, g / n.clamp_min(1e-30))[..., None] * x

    return Norm.apply


@pair(randn((4, 3), (4,)))
def weight_norm_gain_on_wrong_axis(wrong):
    """w = g v / |v| by row; right where v is square and wrong elsewhere, or the gain dropped."""

    class WeightNorm(Function):
        @staticmethod
        def forward(ctx, v, gain):
            n = v.norm(dim=1, keepdim=True)
            ctx.save_for_backward(v, gain, n)
            return v / n * gain[:, None]

        @staticmethod
        def backward(ctx, g):
            v, gain, n = ctx.saved_tensors
            dgain = (g * v / n).sum(1)
            scale = gain[:, None] / n
            dv = scale * g - scale * v / n**2 * (g * v).sum(1, keepdim=True)
            if wrong:
                dv = scale * g - v / n**2 * (g * v).sum(1, keepdim=True)
            return dv, dgain

    return WeightNorm.apply


@pair(randn((4, 8), (8,)))
def layer_norm_bf16_statistics(wrong):
    """Saves the statistics in bfloat16."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx, x, weight):
            mean = x.mean(-1, keepdim=True)
            rstd = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            kind = torch.bfloat16 if wrong else x.dtype
            ctx.save_for_backward(x, mean.to(kind), rstd.to(kind), weight)
            return (x - mean) * rstd * weight

        @staticmethod
        def backward(ctx, g):
            x, mean, rstd, weight = ctx.saved_tensors
            xhat = (x - mean.to(x.dtype)) * rstd.to(x.dtype)
            gh = g * weight
            dx = gh - gh.mean(-1, keepdim=True) - xhat * (gh * xhat).mean(-1, keepdim=True)
            return rstd.to(x.dtype) * dx, (g * xhat).flatten(0, -2).sum(0)

    return LayerNorm.apply


@pair(randn((16, 4)))
def standardise_by_deviation_of_balanced_load(wrong):
    """std() has an infinite slope at equal values; the balanced router starts there."""

    def loss(x):
        load = x.softmax(-1).sum(0)
        if wrong:
            return ((load - load.mean()).square().mean()).sqrt() / load.mean()
        return ((load - load.mean()).square().mean() + 1e-10).sqrt() / load.mean()

    return loss


@pair(randn((4, 7)))
def softmax_layer_norm_eps_outside(wrong):
    """1 / (std + eps) forward, derivative of rsqrt(var + eps) backward."""

    class Norm(Function):
        @staticmethod
        def forward(ctx, x):
            c = x - x.mean(-1, keepdim=True)
            s = c.square().mean(-1, keepdim=True).sqrt()
            ctx.save_for_backward(c, s)
            return c / (s + 1e-2)

        @staticmethod
        def backward(ctx, g):
            c, s = ctx.saved_tensors
            r = 1 / (s + 1e-2)
            second = r**3 if wrong else r**2 / s.clamp_min(1e-20)
            dc = r * g - c * second * (g * c).mean(-1, keepdim=True)
            return dc - dc.mean(-1, keepdim=True)

    return Norm.apply


@pair(randn((3, 5, 8)))
def local_response_neighbours(wrong):
    """Divisive normalisation over a window of channels: the neighbours' term is dropped."""

    def f(x):
        s = F.avg_pool1d(x.square().mT, 3, 1, 1, count_include_pad=False).mT
        d = (1 + s).rsqrt()
        return x * (d.detach() if wrong else d)

    return f
