"""Scans, recurrent cells, recomputation, dropout."""

import torch
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from heldout import doubles, pair, randn


def scan(backward):
    class Scan(Function):
        """h_t = a_t h_(t-1) + x_t over the last axis."""

        @staticmethod
        def forward(ctx, a, x):
            h, out = torch.zeros_like(x[..., 0]), []
            for t in range(x.shape[-1]):
                h = a[..., t] * h + x[..., t]
                out.append(h)
            y = torch.stack(out, -1)
            ctx.save_for_backward(a, y)
            return y

    Scan.backward = staticmethod(backward)
    return Scan.apply


def scan_backward(a, y, g, block=0):
    d = torch.zeros_like(g[..., 0])
    da, dx = torch.zeros_like(a), torch.zeros_like(g)
    for t in reversed(range(g.shape[-1])):
        carry = d * a[..., t + 1] if t + 1 < g.shape[-1] else 0.0
        if block and (t + 1) % block == 0:
            carry = 0.0
        d = g[..., t] + carry
        dx[..., t] = d
        if t:
            da[..., t] = d * y[..., t - 1]
    return da, dx


@pair(randn((2, 10), (2, 10)))
def scan_carry_between_blocks(wrong):
    """The carry between blocks of 16 is dropped: a sequence of 10 has one block."""

    def backward(ctx, g):
        return scan_backward(*ctx.saved_tensors, g, block=16 if wrong else 0)

    return scan(backward)


@pair(randn((3, 6), (3, 6)))
def scan_decay_of_wrong_step(wrong):
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        da, dx = scan_backward(a.roll(1, -1) if wrong else a, y, g)
        return da, dx

    return scan(backward)


@pair(randn((2, 5), (2, 5), (2,)))
def scan_initial_state_gradient(wrong):
    """The initial state's gradient forgets the first decay."""

    class Scan(Function):
        @staticmethod
        def forward(ctx, a, x, h0):
            h, out = h0, []
            for t in range(x.shape[-1]):
                h = a[..., t] * h + x[..., t]
                out.append(h)
            y = torch.stack(out, -1)
            ctx.save_for_backward(a, y, h0)
            return y

        @staticmethod
        def backward(ctx, g):
            a, y, h0 = ctx.saved_tensors
            da, dx = scan_backward(a, y, g)
            da[..., 0] = dx[..., 0] * h0
            return da, dx, dx[..., 0] * (1 if wrong else a[..., 0])

    return Scan.apply


@pair(randn((3, 4), (3, 4), (4, 4)))
def rnn_cell_hidden_path(wrong):
    class Cell(Function):
        @staticmethod
        def forward(ctx, x, h, w):
            y = (x + h @ w).tanh()
            ctx.save_for_backward(h, w, y)
            return y

        @staticmethod
        def backward(ctx, g):
            h, w, y = ctx.saved_tensors
            dz = g * (1 - y * y)
            return dz, dz @ (w if wrong else w.mT), h.mT @ dz

    return Cell.apply


@pair(randn((4, 3), (4, 3), (4, 3)))
def gru_blend_sign(wrong):
    class Blend(Function):
        @staticmethod
        def forward(ctx, z, h, n):
            s = z.sigmoid()
            ctx.save_for_backward(s, h, n)
            return (1 - s) * n + s * h

        @staticmethod
        def backward(ctx, g):
            s, h, n = ctx.saved_tensors
            return g * s * (1 - s) * ((n - h) if wrong else (h - n)), g * s, g * (1 - s)

    return Blend.apply


@pair(randn((4, 5), (4, 5)))
def lstm_returns_cell_without_its_gradient(wrong):
    """Two outputs, h and c; the cotangent of c is ignored."""

    class Cell(Function):
        @staticmethod
        def forward(ctx, f, c):
            s = f.sigmoid()
            new = s * c
            ctx.save_for_backward(s, c, new)
            return new.tanh(), new

        @staticmethod
        def backward(ctx, gh, gc):
            s, c, new = ctx.saved_tensors
            d = gh * (1 - new.tanh() ** 2)
            d = d if wrong else d + gc
            return d * c * s * (1 - s), d * s

    return Cell.apply


@pair(randn((6, 8)))
def dropout_mask_redrawn(wrong):
    class Dropout(Function):
        @staticmethod
        def forward(ctx, x):
            mask = (torch.rand_like(x) < 0.7) / 0.7
            ctx.save_for_backward(mask)
            return x * mask

        @staticmethod
        def backward(ctx, g):
            (mask,) = ctx.saved_tensors
            return g * ((torch.rand_like(g) < 0.7) / 0.7 if wrong else mask)

    return Dropout.apply


@pair(randn((6, 8)))
def dropout_without_scale_in_backward(wrong):
    class Dropout(Function):
        @staticmethod
        def forward(ctx, x):
            mask = torch.rand_like(x) < 0.5
            ctx.save_for_backward(mask)
            return x * mask * 2

        @staticmethod
        def backward(ctx, g):
            (mask,) = ctx.saved_tensors
            return g * mask * (1 if wrong else 2)

    return Dropout.apply


@pair(randn((4, 6)))
def dropout_kept_values_recognised_by_zero(wrong):
    """y != 0 as the mask: an input that is exactly zero was kept all the same."""

    class Dropout(Function):
        @staticmethod
        def forward(ctx, x):
            mask = torch.rand_like(x) < 0.7
            y = x * mask / 0.7
            ctx.save_for_backward(y if wrong else mask)
            return y

        @staticmethod
        def backward(ctx, g):
            (kept,) = ctx.saved_tensors
            return g * (kept != 0) / 0.7

    return Dropout.apply


@pair(randn((5, 6), (6, 6)))
def checkpoint_without_rng(wrong):
    """Dropout inside a recomputed block, its random state not kept."""

    def f(x, w):
        def block(x, w):
            return torch.dropout(x @ w, 0.4, True)

        return checkpoint(block, x, w, use_reentrant=False, preserve_rng_state=not wrong)

    return f


@pair(randn((5, 6)))
def own_checkpoint_detaches(wrong):
    """A home-made checkpoint: recomputes from a detached input and forgets one branch."""

    class Checkpoint(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin() + x * x.detach().cos()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if wrong:
                return g * (x.cos() + x.cos())
            return g * (x.cos() + x.cos() - x * x.sin())

    return Checkpoint.apply


@pair(doubles((2, 7)))
def cumsum_not_reversed(wrong):
    class Cumsum(Function):
        @staticmethod
        def forward(ctx, x):
            return x.cumsum(-1)

        @staticmethod
        def backward(ctx, g):
            return g.cumsum(-1) if wrong else g.flip(-1).cumsum(-1).flip(-1)

    return Cumsum.apply


@pair(randn((3, 9)))
def cummax_tie(wrong):
    """Later equal values take over in the backward, and the earlier one keeps its share too."""

    class Cummax(Function):
        @staticmethod
        def forward(ctx, x):
            y, i = x.cummax(-1)
            ctx.save_for_backward(x, y, i)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y, i = ctx.saved_tensors
            if wrong:
                same = (x[..., None, :] == y[..., :, None]).to(g)
                same = same * torch.ones_like(same).tril()
                return (g[..., None] * same).sum(-2)
            return torch.zeros_like(g).scatter_add(-1, i, g)

    return Cummax.apply
