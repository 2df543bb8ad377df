"""Embeddings, gathers, scatters, segments, sorts."""

import torch
from torch.autograd import Function

from heldout import doubles, pair, randn


def table(seed):
    torch.manual_seed(seed)
    return torch.randn(10, 4, requires_grad=True), torch.tensor([1, 3, 5, 7])


@pair(table)
def embedding_overwrites_repeats(wrong):
    class Embedding(Function):
        @staticmethod
        def forward(ctx, w, i):
            ctx.save_for_backward(i)
            ctx.rows = w.shape[0]
            return w[i]

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            dw = g.new_zeros(ctx.rows, *g.shape[i.dim() :])
            if wrong:
                dw[i] = g
            else:
                dw.index_put_((i,), g, accumulate=True)
            return dw, None

    return Embedding.apply


@pair(lambda seed: (torch.randn(10, 4), torch.tensor([0, 3, 5, 7]), 0))
def embedding_padding_row_learns(wrong):
    """Row 0 is padding: zero forward, and its gradient must be zero."""

    class Embedding(Function):
        @staticmethod
        def forward(ctx, w, i, padding):
            ctx.save_for_backward(i)
            ctx.rows, ctx.padding = w.shape[0], padding
            return w[i] * (i != padding)[:, None]

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            if not wrong:
                g = g * (i != ctx.padding)[:, None]
            dw = g.new_zeros(ctx.rows, g.shape[1]).index_add(0, i, g)
            return dw, None, None

    return Embedding.apply


@pair(lambda seed: (torch.randn(10, 3), torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2])))
def embedding_bag_mean_forgets_count(wrong):
    class Bag(Function):
        @staticmethod
        def forward(ctx, w, i, bag):
            n = int(bag.max()) + 1
            count = torch.bincount(bag, minlength=n).clamp_min(1).to(w)
            ctx.save_for_backward(i, bag, count)
            ctx.rows = len(w)
            return w.new_zeros(n, w.shape[1]).index_add(0, bag, w[i]) / count[:, None]

        @staticmethod
        def backward(ctx, g):
            i, bag, count = ctx.saved_tensors
            g = g / (count[0] if wrong else count[:, None])
            return g.new_zeros(ctx.rows, g.shape[1]).index_add(0, i, g[bag]), None, None

    return Bag.apply


@pair(lambda seed: (torch.randn(4, 6), torch.tensor([[0, 2], [1, 3], [4, 5], [0, 1]])))
def gather_scatters(wrong):
    class Gather(Function):
        @staticmethod
        def forward(ctx, x, i):
            ctx.save_for_backward(i)
            ctx.shape = x.shape
            return x.gather(1, i)

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            d = g.new_zeros(ctx.shape)
            return (d.scatter(1, i, g) if wrong else d.scatter_add(1, i, g)), None

    return Gather.apply


@pair(lambda seed: (torch.randn(5, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 4])))
def scatter_add_source_not_gathered(wrong):
    """out[i] += src: the source's gradient is g[i], not the first rows of g."""

    class ScatterAdd(Function):
        @staticmethod
        def forward(ctx, x, src, i):
            ctx.save_for_backward(i)
            return x.index_add(0, i, src)

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            return g.clone(), g[: len(i)].clone() if wrong else g[i], None

    return ScatterAdd.apply


@pair(lambda seed: (torch.randn(6, 2), torch.tensor([0, 0, 1, 1, 2, 2])))
def segment_max_ties_get_all(wrong):
    """Every tied element gets the whole gradient: more goes back than came."""

    class SegmentMax(Function):
        @staticmethod
        def forward(ctx, x, seg):
            n = int(seg.max()) + 1
            idx = seg[:, None].expand_as(x)
            y = x.new_full((n, x.shape[1]), -1e30).scatter_reduce(0, idx, x, "amax")
            ctx.save_for_backward(x, y, seg)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y, seg = ctx.saved_tensors
            hit = (x == y[seg]).to(g)
            count = torch.zeros_like(y).index_add(0, seg, hit)
            share = hit if wrong else hit / count[seg]
            return share * g[seg], None

    return SegmentMax.apply


@pair(lambda seed: (torch.randn(7, 3), torch.tensor([0, 0, 0, 1, 1, 2, 2])))
def segment_mean_by_total(wrong):
    class SegmentMean(Function):
        @staticmethod
        def forward(ctx, x, seg):
            n = int(seg.max()) + 1
            count = torch.bincount(seg, minlength=n).clamp_min(1).to(x)[:, None]
            ctx.save_for_backward(seg, count)
            return x.new_zeros(n, x.shape[1]).index_add(0, seg, x) / count

        @staticmethod
        def backward(ctx, g):
            seg, count = ctx.saved_tensors
            return g[seg] / (count.max() if wrong else count[seg]), None

    return SegmentMean.apply


@pair(doubles((4, 6)))
def sort_gradient_by_the_same_permutation(wrong):
    class Sort(Function):
        @staticmethod
        def forward(ctx, x):
            y, i = x.sort(-1)
            ctx.save_for_backward(i)
            return y

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            return g.gather(-1, i) if wrong else torch.zeros_like(g).scatter(-1, i, g)

    return Sort.apply


@pair(randn((5, 8)))
def top_k_in_a_flat_buffer(wrong):
    class TopK(Function):
        @staticmethod
        def forward(ctx, x):
            y, i = x.topk(min(3, x.shape[-1]), -1)
            ctx.save_for_backward(i)
            ctx.shape = x.shape
            return y

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            d = g.new_zeros(ctx.shape)
            if wrong:
                d.view(-1).scatter_(0, i.flatten(), g.flatten())
                return d
            return d.scatter(-1, i, g)

    return TopK.apply


@pair(randn((3, 4), (3, 2)))
def concat_splits_at_the_other_width(wrong):
    class Concat(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.a, ctx.b = a.shape[-1], b.shape[-1]
            return torch.cat([a, b], -1)

        @staticmethod
        def backward(ctx, g):
            if wrong:
                return g[..., : ctx.a], g[..., ctx.a - 1 : ctx.a - 1 + ctx.b]
            return g[..., : ctx.a], g[..., ctx.a :]

    return Concat.apply


@pair(randn((6, 4)))
def roll_back_by_one_too_many(wrong):
    class Roll(Function):
        @staticmethod
        def forward(ctx, x):
            return x.roll(1, 0)

        @staticmethod
        def backward(ctx, g):
            return g.roll(-2 if wrong else -1, 0)

    return Roll.apply


@pair(lambda seed: torch.randn(5, 5, dtype=torch.float64))
def trace_by_flat_stride(wrong):
    class Trace(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x.trace()

        @staticmethod
        def backward(ctx, g):
            d = g.new_zeros(ctx.shape)
            if wrong:
                d.view(-1)[:: ctx.shape[1] + 1] = g
            else:
                d.diagonal().fill_(g)
            return d

    return Trace.apply


@pair(randn((2, 3, 4)))
def mean_over_axis_divides_by_other(wrong):
    class Mean(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x.mean(1)

        @staticmethod
        def backward(ctx, g):
            n = ctx.shape[-1] if wrong else ctx.shape[1]
            return (g / n).unsqueeze(1).expand(ctx.shape)

    return Mean.apply


@pair(randn((4, 5)))
def cumprod_divides(wrong):
    class Cumprod(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.cumprod(-1)
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            if wrong:
                return (g * y).flip(-1).cumsum(-1).flip(-1) / x
            with torch.enable_grad():
                z = x.detach().requires_grad_()
                return torch.autograd.grad(z.cumprod(-1), z, g)[0]

    return Cumprod.apply


@pair(lambda seed: (torch.randn(6, 4), torch.tensor([True, False, True, True, False, True])))
def masked_select_fills_in_order(wrong):
    class Select(Function):
        @staticmethod
        def forward(ctx, x, mask):
            ctx.save_for_backward(mask)
            ctx.shape = x.shape
            return x[mask]

        @staticmethod
        def backward(ctx, g):
            (mask,) = ctx.saved_tensors
            d = g.new_zeros(ctx.shape)
            if wrong:
                d[: len(g)] = g
            else:
                d[mask] = g
            return d, None

    return Select.apply


@pair(lambda seed: (torch.randn(8, 4), torch.tensor([0, 1, 1, 2, 0, 3, 2, 1])))
def moe_combine_ignores_capacity(wrong):
    """Tokens scattered to experts and back, scaled by the router's weight, which gets no gradient."""

    def f(x, expert):
        w = x.softmax(-1).gather(1, expert[:, None] % x.shape[1])
        return x.tanh() * (w.detach() if wrong else w)

    return f


@pair(randn((8, 4)))
def top_1_router_renormalised(wrong):
    """The weight of the single chosen expert is cut off from the router."""

    def f(x):
        p = x.softmax(-1)
        w = p.max(-1).values
        w = torch.tensor(w.tolist(), dtype=x.dtype) if wrong else w
        return w[:, None] * x

    return f
