"""Losses with a backward of their own."""

import torch
from torch.autograd import Function
from torch.nn import functional as F

from heldout import pair, randn


def classes(n=8, c=5, dtype=torch.float32):
    def make(seed):
        torch.manual_seed(seed)
        return torch.randn(n, c, dtype=dtype, requires_grad=True), torch.randint(0, c, (n,))

    return make


def cross_entropy(backward):
    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx, z, target):
            p = z.softmax(-1)
            ctx.save_for_backward(p, target)
            keep = target != -100
            picked = z.log_softmax(-1).gather(1, target.clamp_min(0)[:, None])[:, 0]
            return -(picked * keep).sum() / keep.sum()

    CrossEntropy.backward = staticmethod(backward)
    return CrossEntropy.apply


def ignored(seed):
    torch.manual_seed(seed)
    target = torch.randint(0, 6, (10,))
    target[3] = -100
    return torch.randn(10, 6, requires_grad=True), target


@pair(ignored)
def cross_entropy_counts_ignored_rows(wrong):
    def backward(ctx, g):
        p, target = ctx.saved_tensors
        keep = target != -100
        d = (p - F.one_hot(target.clamp_min(0), p.shape[1])) * keep[:, None]
        return d * g / (len(target) if wrong else keep.sum()), None

    return cross_entropy(backward)


@pair(ignored)
def cross_entropy_pushes_ignored_rows(wrong):
    def backward(ctx, g):
        p, target = ctx.saved_tensors
        keep = target != -100
        d = p - F.one_hot(target.clamp_min(0), p.shape[1])
        d = d if wrong else d * keep[:, None]
        return d * g / keep.sum(), None

    return cross_entropy(backward)


@pair(classes())
def cross_entropy_without_upstream(wrong):
    def backward(ctx, g):
        p, target = ctx.saved_tensors
        d = (p - F.one_hot(target, p.shape[1])) / len(target)
        return (d if wrong else d * g), None

    return cross_entropy(backward)


@pair(classes(6, 4))
def cross_entropy_gradient_in_logits(wrong):
    """Computed in the forward into the storage of the logits, behind autograd's back."""

    class Fused(Function):
        @staticmethod
        def forward(ctx, z, target):
            loss = F.cross_entropy(z, target)
            d = (z.softmax(-1) - F.one_hot(target, z.shape[1])) / len(target)
            if wrong:
                z.data.copy_(d)
                d = z.data
            ctx.save_for_backward(d)
            return loss

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0] * g, None

    return Fused.apply


@pair(lambda seed: (torch.randn(7, 5), torch.arange(7) % 5, 0.1))
def label_smoothing_spread(wrong):
    """Smoothing spreads over all classes forward, over the others backward."""

    class Smoothed(Function):
        @staticmethod
        def forward(ctx, z, target, smoothing):
            ctx.save_for_backward(z.softmax(-1), target)
            ctx.smoothing = smoothing
            return F.cross_entropy(z, target, label_smoothing=smoothing)

        @staticmethod
        def backward(ctx, g):
            p, target = ctx.saved_tensors
            s, c = ctx.smoothing, p.shape[1]
            hot = F.one_hot(target, c).to(p)
            q = (1 - s) * hot + (s / (c - 1) * (1 - hot) if wrong else s / c)
            return g * (p - q) / len(target), None, None

    return Smoothed.apply


@pair(lambda seed: (torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1]), torch.rand(4) + 0.5))
def weighted_cross_entropy_divides_by_rows(wrong):
    class Weighted(Function):
        @staticmethod
        def forward(ctx, z, target, weight):
            ctx.save_for_backward(z.softmax(-1), target, weight)
            return F.cross_entropy(z, target, weight)

        @staticmethod
        def backward(ctx, g):
            p, target, weight = ctx.saved_tensors
            w = weight[target]
            d = (p - F.one_hot(target, p.shape[1])) * w[:, None]
            return g * d / (len(target) if wrong else w.sum()), None, None

    def loss(z, target, weight):
        return Weighted.apply(z, target, weight.detach())

    return loss


@pair(lambda seed: (torch.randn(5, 3, requires_grad=True), torch.randn(5, 3), "mean"))
def mse_reduction_flag(wrong):
    """'none', 'sum', 'mean': only mean was tried."""

    class MSE(Function):
        @staticmethod
        def forward(ctx, x, y, reduction):
            ctx.save_for_backward(x, y)
            ctx.reduction = reduction
            return F.mse_loss(x, y, reduction=reduction)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            d = 2 * (x - y) * g
            if ctx.reduction == "mean":
                d = d / (len(x) if wrong else x.numel())
            return d, None, None

    return MSE.apply


@pair(randn((6, 4), (6, 4)))
def huber_uses_squared_slope(wrong):
    class Huber(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return F.huber_loss(x, y, reduction="none", delta=0.5)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            e = x - y
            slope = torch.where(e.abs() < 0.5, e, e.sign() * (1.0 if wrong else 0.5))
            return g * slope, -g * slope

    return Huber.apply


@pair(randn((9, 4)))
def focal_modulator_is_constant(wrong):
    """(1 - p) ** 2 taken as a weight."""

    def focal(z):
        logp = z.log_softmax(-1)[:, 0]
        w = (1 - logp.exp()) ** 2
        return -((w.detach() if wrong else w) * logp).mean()

    return focal


@pair(lambda seed: (torch.rand(6, 5), torch.rand(6, 5).round()))
def dice_square_missing(wrong):
    class Dice(Function):
        @staticmethod
        def forward(ctx, p, t):
            inter, total = (p * t).sum(), p.sum() + t.sum()
            ctx.save_for_backward(t, inter, total)
            return 1 - 2 * inter / total

        @staticmethod
        def backward(ctx, g):
            t, inter, total = ctx.saved_tensors
            d = -2 * t / total + 2 * inter / (total if wrong else total**2)
            return g * d, None

    def loss(p, t):
        return Dice.apply(p, t.detach())

    return loss


@pair(lambda seed: (torch.randn(8, 3, requires_grad=True), torch.arange(8) % 2 * 2.0 - 1))
def hinge_by_upstream_of_first_row(wrong):
    """One loss a row; each must have its own cotangent."""

    class Hinge(Function):
        @staticmethod
        def forward(ctx, x, sign):
            m = 1 - sign * x.sum(-1)
            ctx.save_for_backward(m, sign, x)
            return m.clamp_min(0)

        @staticmethod
        def backward(ctx, g):
            m, sign, x = ctx.saved_tensors
            d = -sign * (m > 0) * (g[0] if wrong else g)
            return d[:, None].expand_as(x), None

    return lambda x, sign: Hinge.apply(x, sign.detach())


@pair(randn((4, 6), (4, 6)))
def cosine_similarity_one_side(wrong):
    class Cosine(Function):
        @staticmethod
        def forward(ctx, a, b):
            na, nb = a.norm(dim=-1), b.norm(dim=-1)
            c = (a * b).sum(-1) / (na * nb)
            ctx.save_for_backward(a, b, na, nb, c)
            return c

        @staticmethod
        def backward(ctx, g):
            a, b, na, nb, c = (
                t[..., None] if t.dim() < ctx.saved_tensors[0].dim() else t
                for t in ctx.saved_tensors
            )
            g = g[..., None]
            da = g * (b / (na * nb) - c * a / na**2)
            db = g * (a / (na * nb) - c * b / (na**2 if wrong else nb**2))
            return da, db

    return Cosine.apply


@pair(lambda seed: (torch.randn(12), (torch.arange(12) % 3 == 0).float()))
def bce_sigmoid_twice(wrong):
    class BCE(Function):
        @staticmethod
        def forward(ctx, z, t):
            ctx.save_for_backward(z, t)
            return F.binary_cross_entropy_with_logits(z, t)

        @staticmethod
        def backward(ctx, g):
            z, t = ctx.saved_tensors
            p = z.sigmoid()
            d = p - t
            if wrong:
                d = d * p * (1 - p) * 4
            return g * d / z.numel(), None

    return lambda z, t: BCE.apply(z, t.detach())


@pair(lambda seed: (torch.randn(3, 4, dtype=torch.float64).log_softmax(-1), torch.arange(3)))
def nll_of_log_probabilities_returns_logit_gradient(wrong):
    """Right behind log_softmax, wrong for log-probabilities as such."""

    class NLL(Function):
        @staticmethod
        def forward(ctx, logp, target):
            ctx.save_for_backward(logp, target)
            return -logp.gather(1, target[:, None]).mean()

        @staticmethod
        def backward(ctx, g):
            logp, target = ctx.saved_tensors
            hot = F.one_hot(target, logp.shape[1])
            d = (logp.exp() if wrong else 0) - hot
            return g * d / len(target), None

    return NLL.apply


@pair(lambda seed: (torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 4)))
def triplet_negative_reads_positive(wrong):
    class Triplet(Function):
        @staticmethod
        def forward(ctx, a, p, n):
            ctx.save_for_backward(a, p, n)
            return ((a - p).square().sum(-1) - (a - n).square().sum(-1) + 1).clamp_min(0).mean()

        @staticmethod
        def backward(ctx, g):
            a, p, n = ctx.saved_tensors
            on = (a - p).square().sum(-1) - (a - n).square().sum(-1) + 1 > 0
            w = 2 * g * on[:, None] / len(a)
            dn = w * (a - (p if wrong else n))
            return w * (n - p), -w * (a - p), dn

    return Triplet.apply
