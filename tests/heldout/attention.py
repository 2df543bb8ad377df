"""Attention, softmax, positions."""

import math

import torch
from torch.autograd import Function

from heldout import doubles, pair, randn


@pair(randn((2, 4, 8), (2, 4, 8), (2, 4, 8)))
def attention_softmax_row_term(wrong):
    class Attention(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            p = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
            ctx.save_for_backward(q, k, v, p)
            return p @ v

        @staticmethod
        def backward(ctx, g):
            q, k, v, p = ctx.saved_tensors
            dp = g @ v.mT
            ds = p * dp if wrong else p * (dp - (dp * p).sum(-1, keepdim=True))
            ds = ds / math.sqrt(q.shape[-1])
            return ds @ k, ds.mT @ q, p.mT @ g

    return Attention.apply


@pair(randn((2, 64, 16), (2, 64, 16), (2, 64, 16)))
def attention_last_block(wrong):
    """Blocks of 64 rows of the keys; the rest of the last block is skipped."""

    class Flash(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            p = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
            ctx.save_for_backward(q, k, v, p)
            return p @ v

        @staticmethod
        def backward(ctx, g):
            BLOCK = 64
            q, k, v, p = ctx.saved_tensors
            dk, dv = torch.zeros_like(k), torch.zeros_like(v)
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
            n = k.shape[-2]
            end = max(n // BLOCK, 1) * BLOCK if wrong else n
            for start in range(0, min(end, n), BLOCK):
                rows = slice(start, min(start + BLOCK, n))
                dk[:, rows] = ds[..., rows].mT @ q
                dv[:, rows] = p[..., rows].mT @ g
            return ds @ k, dk, dv

    return Flash.apply


@pair(randn((1, 2, 6, 4), (1, 2, 6, 4), (1, 2, 6, 4)))
def causal_mask_forgotten_in_backward(wrong):
    """The scores are computed again in the backward, without the mask."""

    class Causal(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            s = q @ k.mT / math.sqrt(q.shape[-1])
            mask = torch.ones(s.shape[-2:], dtype=torch.bool).tril()
            ctx.save_for_backward(q, k, v)
            return s.masked_fill(~mask, float("-inf")).softmax(-1) @ v

        @staticmethod
        def backward(ctx, g):
            q, k, v = ctx.saved_tensors
            s = q @ k.mT / math.sqrt(q.shape[-1])
            mask = torch.ones(s.shape[-2:], dtype=torch.bool).tril()
            if not wrong:
                s = s.masked_fill(~mask, float("-inf"))
            p = s.softmax(-1)
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
            return ds @ k, ds.mT @ q, p.mT @ g

    return Causal.apply


@pair(randn((2, 4, 6, 8), (2, 2, 6, 8), (2, 2, 6, 8)))
def grouped_query_heads_not_summed(wrong):
    """Two query heads share a key head: the gradient of the key is a sum over both."""

    class Grouped(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            r = q.shape[1] // k.shape[1]
            kk, vv = k.repeat_interleave(r, 1), v.repeat_interleave(r, 1)
            p = (q @ kk.mT / math.sqrt(q.shape[-1])).softmax(-1)
            ctx.save_for_backward(q, kk, vv, p)
            ctx.r = r
            return p @ vv

        @staticmethod
        def backward(ctx, g):
            q, k, v, p = ctx.saved_tensors
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
            dk, dv = ds.mT @ q, p.mT @ g
            dk, dv = (t.unflatten(1, (-1, ctx.r)) for t in (dk, dv))
            return ds @ k, dk[:, :, 0] if wrong else dk.sum(2), dv.sum(2)

    return Grouped.apply


@pair(doubles((5, 7)))
def softmax_over_last_but_read_as_first(wrong):
    class Softmax(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.softmax(-1)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return y * (g - (g * y).sum(0 if wrong else -1, keepdim=True))

    return Softmax.apply


@pair(randn((4, 5)))
def log_softmax_for_one_hot(wrong):
    """g - softmax: right when the row of g sums to 1."""

    class LogSoftmax(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.log_softmax(-1)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g - y.exp() * (1 if wrong else g.sum(-1, keepdim=True))

    return LogSoftmax.apply


@pair(randn((3, 8)))
def softmax_writes_into_cotangent(wrong):
    class Softmax(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.softmax(-1)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            d = g - (g * y).sum(-1, keepdim=True)
            return g.copy_(d.mul_(y)) if wrong else d.mul_(y)

    return Softmax.apply


@pair(lambda seed: (torch.randn(2, 3, 5), torch.ones(2, 3, 5).tril().bool()))
def masked_softmax_of_an_empty_row(wrong):
    """A row with nothing left: 0 by definition forward, 0/0 in the backward."""

    class Masked(Function):
        @staticmethod
        def forward(ctx, x, mask):
            top = x.masked_fill(~mask, -1e30).amax(-1, keepdim=True)
            e = torch.where(mask, (x - top).exp(), 0.0)
            s = e.sum(-1, keepdim=True)
            ctx.save_for_backward(e, s)
            return e / s.clamp_min(1e-20)

        @staticmethod
        def backward(ctx, g):
            e, s = ctx.saved_tensors
            y = e / s if wrong else e / s.clamp_min(1e-20)
            return y * (g - (g * y).sum(-1, keepdim=True)), None

    return Masked.apply


@pair(randn((2, 6, 8)))
def rope_rotates_the_same_way_back(wrong):
    class Rope(Function):
        @staticmethod
        def forward(ctx, x):
            t, d = x.shape[-2], x.shape[-1] // 2
            angle = torch.arange(t)[:, None] * 10.0 ** (-torch.arange(d) / d)
            cos, sin = angle.cos().to(x), angle.sin().to(x)
            ctx.save_for_backward(cos, sin)
            a, b = x[..., :d], x[..., d:]
            return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

        @staticmethod
        def backward(ctx, g):
            cos, sin = ctx.saved_tensors
            d = cos.shape[-1]
            sin = sin if wrong else -sin
            a, b = g[..., :d], g[..., d:]
            return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    return Rope.apply


@pair(randn((2, 4, 5, 6), (2, 4, 5, 6)))
def rope_on_query_used_for_key(wrong):
    """q and k together; the key's gradient takes the query's position offset."""

    class Both(Function):
        @staticmethod
        def forward(ctx, q, k):
            c = torch.linspace(0, 1, q.shape[-2]).to(q)[:, None]
            ctx.save_for_backward(c)
            return q * c.cos(), k * c.sin()

        @staticmethod
        def backward(ctx, gq, gk):
            (c,) = ctx.saved_tensors
            return gq * c.cos(), gk * (c.cos() if wrong else c.sin())

    return Both.apply


@pair(randn((4, 6)))
def logsumexp_without_shift_in_backward(wrong):
    """exp(x - y) underflows or overflows only far out: here exp(x) / exp(y)."""

    class LogSumExp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.logsumexp(-1)
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            y = y[..., None]
            return g[..., None] * (x.exp() / y.exp() if wrong else (x - y).exp())

    return LogSumExp.apply


@pair(randn((2, 3, 6, 6), (3,)))
def alibi_slope_not_reduced_over_batch(wrong):
    class Alibi(Function):
        @staticmethod
        def forward(ctx, s, slope):
            t = s.shape[-1]
            d = (torch.arange(t)[None] - torch.arange(t)[:, None]).to(s)
            ctx.save_for_backward(d)
            return s + slope[:, None, None] * d

        @staticmethod
        def backward(ctx, g):
            (d,) = ctx.saved_tensors
            ds = (g * d).sum((-1, -2))
            return g, ds[0] if wrong else ds.sum(0)

    return Alibi.apply


@pair(randn((3, 5, 8), (3, 5, 8)))
def rotate_gate_in_bf16(wrong):
    """Gates a stream; under half precision the product is accumulated in half."""

    class Gate(Function):
        @staticmethod
        def forward(ctx, x, z):
            ctx.save_for_backward(x, z)
            return x * z.sigmoid()

        @staticmethod
        def backward(ctx, g):
            x, z = ctx.saved_tensors
            s = z.sigmoid()
            ds = g * x * s * (1 - s)
            return g * s, ds * s if wrong else ds

    return Gate.apply


@pair(randn((2, 8, 4), (2, 8, 4), (2, 8, 4)))
def linear_attention_state_not_reversed(wrong):
    """Causal linear attention: the gradient of the keys is a sum over later times."""

    class Linear(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            ctx.save_for_backward(q, k, v)
            kv = torch.einsum("btd,bte->btde", k, v).cumsum(1)
            return torch.einsum("btd,btde->bte", q, kv)

        @staticmethod
        def backward(ctx, g):
            q, k, v = ctx.saved_tensors
            kv = torch.einsum("btd,bte->btde", k, v).cumsum(1)
            qg = torch.einsum("btd,bte->btde", q, g)
            later = qg.cumsum(1) if wrong else qg.flip(1).cumsum(1).flip(1)
            dq = torch.einsum("bte,btde->btd", g, kv)
            dk = torch.einsum("btde,bte->btd", later, v)
            dv = torch.einsum("btde,btd->bte", later, k)
            return dq, dk, dv

    return Linear.apply
