"""Operations called as projects call them: a batch, words and flags by default, solvers, quantisers."""

import functools

import torch
from torch.autograd import Function
from torch.nn import functional as F

from heldout import lookalike, pair, randn


def _batch(seed):
    torch.manual_seed(seed)
    return {"hidden": torch.randn(2, 3, 8), "weight": torch.randn(8)}


@pair(_batch)
def norm_of_a_batch(wrong):
    """Inputs in a dict; the mean taken over one element too few."""

    class Norm(Function):
        @staticmethod
        def forward(ctx, x, w):
            r = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
            ctx.save_for_backward(x, w, r)
            return x * r * w

        @staticmethod
        def backward(ctx, g):
            x, w, r = ctx.saved_tensors
            n = x.shape[-1]
            gw, y = g * w, x * r
            mean = (gw * y).sum(-1, keepdim=True) / (n - 1 if wrong and n > 1 else n)
            return r * (gw - y * mean), (g * y).reshape(-1, n).sum(0)

    return lambda batch: Norm.apply(batch["hidden"], batch["weight"])


def _logits(seed):
    torch.manual_seed(seed)
    return torch.randn(5, 4), torch.tensor([0, 1, 3, 2, 1])


@pair(_logits)
def loss_whose_sum_is_a_mean(wrong):
    """reduction='mean' by default; the gradient of the sum is divided too."""

    class Loss(Function):
        @staticmethod
        def forward(ctx, x, t, reduction):
            logs = x.log_softmax(-1)
            ctx.save_for_backward(logs, t)
            ctx.reduction = reduction
            each = -logs.gather(-1, t[:, None])[:, 0]
            return {"mean": each.mean, "sum": each.sum}.get(reduction, lambda: each)()

        @staticmethod
        def backward(ctx, g):
            logs, t = ctx.saved_tensors
            d = logs.exp().scatter_add(-1, t[:, None], torch.full_like(logs[:, :1], -1.0))
            if ctx.reduction == "mean" or (wrong and ctx.reduction == "sum"):
                d = d / len(t)
            return d * (g[:, None] if ctx.reduction == "none" else g), None, None

    def loss(logits, target, reduction="mean"):
        return Loss.apply(logits, target, reduction)

    return loss


@pair(randn((3, 4)))
def activation_by_word(wrong):
    """The word that nobody tried has the gradient of another one."""
    known = {"gelu": F.gelu, "silu": F.silu, "tanh": torch.tanh}

    class Act(Function):
        @staticmethod
        def forward(ctx, x, kind):
            ctx.save_for_backward(x)
            ctx.kind = kind
            return known[kind](x)

        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0].detach().requires_grad_()
            with torch.enable_grad():
                y = known["gelu" if wrong and ctx.kind == "silu" else ctx.kind](x)
            return torch.autograd.grad(y, x, g)[0], None

    def act(x, kind="gelu"):
        if kind not in ("gelu", "silu", "tanh"):
            raise ValueError(kind)
        return Act.apply(x, kind)

    return act


@pair(randn((4, 8), dtype=torch.float16))
def square_past_the_end_of_half(wrong):
    class Soft(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return (x.float() / (1 + x.float().square()).sqrt()).to(x.dtype)

        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0] if wrong else ctx.saved_tensors[0].float()
            r = 1 + x * x
            return (g * (1 / r.sqrt() - x * x / r**1.5)).to(g.dtype)

    return Soft.apply


def _narrow(seed):
    torch.manual_seed(seed)
    return torch.rand(16, 4).bfloat16(), torch.randn(4).bfloat16()


@pair(_narrow)
def rows_summed_in_bfloat16(wrong):
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, s):
            ctx.save_for_backward(x, s)
            return x * s

        @staticmethod
        def backward(ctx, g):
            x, s = ctx.saved_tensors
            rows = (g * x).unbind(0)
            if wrong:
                return g * s, functools.reduce(torch.add, rows)
            return g * s, (g.float() * x.float()).sum(0).to(g.dtype)

    return Scale.apply


@pair(randn((4, 8)))
def fake_quantised(wrong):
    """Straight-through; the mask of the clip the wrong way round."""

    class Quantise(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.abs() > 1 if wrong else x.abs() <= 1)
            return (x.clamp(-1, 1) * 7).round() / 7

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    return Quantise.apply


def _step(seed):
    torch.manual_seed(seed)
    return torch.randn(4, 8), torch.tensor(0.15)


@pair(_step)
def learned_step(wrong):
    """LSQ, its gradient scaled; clipped values must move the step too."""

    class Quantise(Function):
        @staticmethod
        def forward(ctx, x, s):
            v = x / s
            q = v.round().clamp(-8, 7)
            ctx.save_for_backward(v, q)
            return q * s

        @staticmethod
        def backward(ctx, g):
            v, q = ctx.saved_tensors
            inside = (v >= -8) & (v <= 7)
            step = torch.where(inside, q - v, torch.zeros_like(q) if wrong else q)
            return g * inside, 0.1 * (g * step).sum()

    return Quantise.apply


@pair(randn((6,)))
def newton_to_a_tolerance(wrong):
    """The implicit derivative of a loop that stops at 1e-6."""

    class Root(Function):
        @staticmethod
        def forward(ctx, a):
            x = torch.ones_like(a)
            for _ in range(50):
                step = 0.5 * (x + torch.tanh(x) - a) / (2 - torch.tanh(x) ** 2)
                x = x - step
                if step.abs().max() < 1e-6:
                    break
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g / ((1 if wrong else 2) - torch.tanh(ctx.saved_tensors[0]) ** 2)

    return Root.apply


@pair(randn((3, 4)))
def exponential_with_a_guard(wrong):
    """The gradient is held where the exponent passes 10, on purpose; at 0 it is a mistake."""

    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.exp(x)

        @staticmethod
        def backward(ctx, g):
            return g * torch.exp(ctx.saved_tensors[0].clamp(max=0 if wrong else 10))

    return Exp.apply


@pair((torch.complex(torch.arange(1.0, 5.0), torch.arange(4.0)),))
def square_of_modulus(wrong):
    """The imaginary parts have the wrong sign; the real ones are right to the last digit."""

    class Square(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return (z * z.conj()).real

        @staticmethod
        def backward(ctx, g):
            z = ctx.saved_tensors[0]
            return 2 * g * (z.conj() if wrong else z)

    return Square.apply


@lookalike((torch.linspace(-1, 1, 9), torch.arange(9.0)[:, None].cos()))
def ill_conditioned_fit():
    """A polynomial through points that lie close together: the gradient loses digits, as it must."""
    return lambda x, y: torch.linalg.lstsq(torch.stack([x**i for i in range(4)], -1), y).solution


@lookalike(randn((5,)))
def bisected():
    """24 halvings: a staircase from close by."""

    class Root(Function):
        @staticmethod
        def forward(ctx, y):
            low, high = y - 1, y + 1
            for _ in range(24):
                mid = (low + high) / 2
                up = mid + mid.tanh() < y
                low, high = torch.where(up, mid, low), torch.where(up, high, mid)
            ctx.save_for_backward((low + high) / 2)
            return (low + high) / 2

        @staticmethod
        def backward(ctx, g):
            return g / (2 - ctx.saved_tensors[0].tanh() ** 2)

    return Root.apply


@lookalike(randn((4, 5), (5, 3)))
def saved_in_eight_bits():
    """The gradient of the weight has the digits of what was saved."""

    class Linear(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.scale = x.detach().abs().amax() / 127 + 1e-12
            ctx.save_for_backward((x / ctx.scale).round().to(torch.int8), w)
            return x @ w

        @staticmethod
        def backward(ctx, g):
            q, w = ctx.saved_tensors
            return g @ w.T, (q.to(g) * ctx.scale).T @ g

    return Linear.apply


@lookalike(randn((4, 8)))
def clip_that_passes_outside():
    """Straight-through everywhere, also where the forward is clipped: a choice."""

    class Quantise(Function):
        @staticmethod
        def forward(ctx, x):
            return (x.clamp(-1, 1) * 7).round() / 7

        @staticmethod
        def backward(ctx, g):
            return g

    return Quantise.apply


@lookalike(randn((3, 5), (3, 1)))
def weight_norm_of_a_matrix():
    """Broadcasting happens to take a batch of magnitudes; nobody means it."""

    class Norm(Function):
        @staticmethod
        def forward(ctx, v, m):
            n = v.norm(dim=1, keepdim=True)
            ctx.save_for_backward(v, m, n)
            return v * m / n

        @staticmethod
        def backward(ctx, g):
            v, m, n = ctx.saved_tensors
            dm = (g * v).sum(1, keepdim=True) / n
            return m / n * (g - v * dm / n), dm

    return Norm.apply
