"""Convolutions, pooling, resampling."""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from heldout import doubles, pair, randn


@pair(lambda seed: (torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), 2, 1))
def conv_output_padding_forgotten(wrong):
    """Stride 2 on an odd or even size: the transposed convolution must give the input's size back."""

    class Conv(Function):
        @staticmethod
        def forward(ctx, x, w, stride, padding):
            ctx.save_for_backward(x, w)
            ctx.stride, ctx.padding = stride, padding
            return F.conv2d(x, w, stride=stride, padding=padding)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dx = torch.nn.grad.conv2d_input(x.shape, w, g, ctx.stride, ctx.padding)
            dw = torch.nn.grad.conv2d_weight(x, w.shape, g, ctx.stride, ctx.padding)
            if wrong:
                dx = F.conv_transpose2d(g, w, stride=ctx.stride, padding=ctx.padding)
                dx = F.interpolate(dx, x.shape[2:])
            return dx, dw, None, None

    return Conv.apply


@pair(lambda seed: (torch.randn(2, 3, 9), torch.randn(4, 3, 3), torch.randn(4), 1))
def conv_dilation_forgotten(wrong):
    """Dilation is honoured forward alone; the example uses 1."""

    class Conv(Function):
        @staticmethod
        def forward(ctx, x, w, b, dilation):
            ctx.save_for_backward(x, w)
            ctx.dilation = dilation
            return F.conv1d(x, w, b, dilation=dilation, padding=dilation)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            d = 1 if wrong else ctx.dilation
            dx = torch.nn.grad.conv1d_input(x.shape, w, g, padding=d, dilation=d)
            dw = torch.nn.grad.conv1d_weight(x, w.shape, g, padding=d, dilation=d)
            return dx, dw, g.sum((0, 2)), None

    return Conv.apply


@pair(randn((2, 3, 8), (3, 4)))
def causal_conv_flips_kernel(wrong):
    """A depthwise causal convolution: the gradient is a correlation in the other direction."""

    class Causal(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            k = w.shape[1]
            return F.conv1d(F.pad(x, (k - 1, 0)), w[:, None], groups=len(w))

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            k = w.shape[1]
            back = w if wrong else w.flip(1)
            dx = F.conv1d(F.pad(g, (0, k - 1)), back[:, None], groups=len(w))
            xs = F.pad(x, (k - 1, 0)).unfold(-1, k, 1)
            return dx, torch.einsum("bct,bctk->ck", g, xs)

    return Causal.apply


@pair(randn((2, 3, 8), (3, 4)))
def causal_conv_of_short_chunk(wrong):
    """max(0, T - W + 1): wrong only where the chunk is shorter than the kernel."""

    class Causal(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            k = w.shape[1]
            return F.conv1d(F.pad(x, (k - 1, 0)), w[:, None], groups=len(w))

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            t, k = x.shape[-1], w.shape[1]
            dx = torch.zeros_like(x)
            for j in range(k):
                shift = k - 1 - j
                if shift >= t:
                    if wrong and t < k - 1:
                        dx[..., 0] += w[:, j] * g[..., -1]
                    continue
                dx[..., : t - shift] += w[:, j, None] * g[..., shift:]
            xs = F.pad(x, (k - 1, 0)).unfold(-1, k, 1)
            return dx, torch.einsum("bct,bctk->ck", g, xs)

    return Causal.apply


@pair(lambda seed: (torch.randn(2, 3, 8, 8), 2, 2))
def max_pool_overlap_assigns(wrong):
    """Kernel 2, stride 2 in the test; windows that overlap must add."""

    class Pool(Function):
        @staticmethod
        def forward(ctx, x, kernel, stride):
            y, i = F.max_pool2d(x, kernel, stride, return_indices=True)
            ctx.save_for_backward(i)
            ctx.shape = x.shape
            return y

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            d = g.new_zeros(ctx.shape).flatten(2)
            i, g = i.flatten(2), g.flatten(2)
            d = d.scatter(2, i, g) if wrong else d.scatter_add(2, i, g)
            return d.view(ctx.shape), None, None

    return Pool.apply


@pair(randn((1, 2, 10)))
def average_pool_counts_padding(wrong):
    class Pool(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.n = x.shape[-1]
            return F.avg_pool1d(x, 3, 1, 1, count_include_pad=False)

        @staticmethod
        def backward(ctx, g):
            ones = torch.ones(1, 1, ctx.n, dtype=g.dtype)
            count = F.avg_pool1d(ones, 3, 1, 1) * 3
            if wrong:
                count = torch.full_like(count, 3)
            return F.avg_pool1d(g / count, 3, 1, 1) * 3

    return Pool.apply


@pair(randn((1, 2, 4, 4)))
def nearest_upsampling_mean(wrong):
    class Up(Function):
        @staticmethod
        def forward(ctx, x):
            return F.interpolate(x, scale_factor=2)

        @staticmethod
        def backward(ctx, g):
            d = F.avg_pool2d(g, 2)
            return d if wrong else 4 * d

    return Up.apply


@pair(randn((1, 4, 3, 3)))
def pixel_shuffle_axes(wrong):
    class Shuffle(Function):
        @staticmethod
        def forward(ctx, x):
            return F.pixel_shuffle(x, 2)

        @staticmethod
        def backward(ctx, g):
            b, c, h, w = g.shape
            v = g.view(b, c, h // 2, 2, w // 2, 2)
            v = v.permute(0, 1, 5, 3, 2, 4) if wrong else v.permute(0, 1, 3, 5, 2, 4)
            return v.reshape(b, c * 4, h // 2, w // 2)

    return Shuffle.apply


def sampled(seed):
    torch.manual_seed(seed)
    return (
        torch.randn(1, 2, 5, 6, dtype=torch.float64),
        torch.rand(1, 3, 4, 2, dtype=torch.float64) * 1.6 - 0.8,
    )


@pair(sampled)
def grid_sample_scale_of_width_for_height(wrong):
    """The derivative by a coordinate holds half the size of its own axis."""

    class Sample(Function):
        @staticmethod
        def forward(ctx, x, grid):
            ctx.save_for_backward(x, grid)
            return F.grid_sample(x, grid, align_corners=False)

        @staticmethod
        def backward(ctx, g):
            x, grid = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            with torch.enable_grad():
                y = F.grid_sample(x, grid, align_corners=False)
                dx, dgrid = torch.autograd.grad(y, (x, grid), g)
            if wrong:
                h, w = x.shape[2:]
                dgrid = dgrid * torch.tensor([1.0, w / h], dtype=g.dtype)
            return dx, dgrid

    return Sample.apply


@pair(doubles((1, 3, 12)))
def linear_interpolation_at_the_border(wrong):
    """Sampling at fixed places; the right neighbour at the border is taken for zero in the backward."""

    class Resample(Function):
        @staticmethod
        def forward(ctx, x):
            n = x.shape[-1]
            pos = torch.linspace(0, n - 1, 2 * n - 1, dtype=x.dtype)
            i = pos.floor().long().clamp(0, max(n - 2, 0))
            f = pos - i
            j = (i + 1).clamp_max(n - 1)
            ctx.save_for_backward(i, j, f)
            ctx.shape = x.shape
            return x[..., i] * (1 - f) + x[..., j] * f

        @staticmethod
        def backward(ctx, g):
            i, j, f = ctx.saved_tensors
            d = g.new_zeros(ctx.shape)
            d = d.index_add(-1, i, g * (1 - f))
            right = g * f
            if wrong:
                right = right * (j < ctx.shape[-1] - 1)
            return d.index_add(-1, j, right)

    return Resample.apply


@pair(lambda seed: (torch.randn(1, 1, 6, 6), torch.randn(2, 1, 3, 3), torch.randn(2)))
def conv_bias_summed_over_batch_only(wrong):
    class Conv(Function):
        @staticmethod
        def forward(ctx, x, w, b):
            ctx.save_for_backward(x, w)
            return F.conv2d(x, w, b)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dx = torch.nn.grad.conv2d_input(x.shape, w, g)
            dw = torch.nn.grad.conv2d_weight(x, w.shape, g)
            db = g[0].sum((1, 2)) if wrong else g.sum((0, 2, 3))
            return dx, dw, db

    return Conv.apply


@pair(randn((2, 6, 10)))
def unfold_windows_overwrite(wrong):
    """Windows of 4 with step 2 overlap: fold must add."""

    class Windows(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.n = x.shape[-1]
            return x.unfold(-1, 4, 2)

        @staticmethod
        def backward(ctx, g):
            d = g.new_zeros(*g.shape[:-2], ctx.n)
            for t in range(g.shape[-2]):
                if wrong:
                    d[..., 2 * t : 2 * t + 4] = g[..., t, :]
                else:
                    d[..., 2 * t : 2 * t + 4] += g[..., t, :]
            return d

    return Windows.apply
