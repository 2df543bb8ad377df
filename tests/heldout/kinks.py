"""Right code that looks wrong: kinks, ties, thresholds, surrogates, bad numbers."""

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

from heldout import doubles, lookalike, randn


def function(forward, backward):
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Made", (Function,), members).apply


def keep(forward):
    def wrapped(ctx, *inputs):
        ctx.save_for_backward(*inputs)
        return forward(*inputs)

    return wrapped


@lookalike(lambda seed: torch.tensor([-1.0, 0.0, 2.0, 0.0]))
def relu_at_zero():
    return function(keep(lambda x: x.clamp_min(0)), lambda ctx, g: g * (ctx.saved_tensors[0] > 0))


@lookalike(lambda seed: torch.tensor([-1.0, 0.0, 2.0, 0.0]))
def relu_at_zero_other_side():
    return function(keep(lambda x: x.clamp_min(0)), lambda ctx, g: g * (ctx.saved_tensors[0] >= 0))


@lookalike(randn((4, 5)))
def relu_by_sign():
    """Half the slope at zero."""
    return function(
        keep(lambda x: x.clamp_min(0)),
        lambda ctx, g: g * (ctx.saved_tensors[0].sign() + 1) / 2,
    )


@lookalike(lambda seed: torch.tensor([[-1.0, 1.0, 0.3], [1.0, 2.0, -2.0]], dtype=torch.float64))
def clamp_on_its_bounds():
    return function(
        keep(lambda x: x.clamp(-1, 1)),
        lambda ctx, g: g * ((ctx.saved_tensors[0] > -1) & (ctx.saved_tensors[0] < 1)),
    )


@lookalike(randn((6,)))
def absolute_value():
    return function(keep(torch.abs), lambda ctx, g: g * ctx.saved_tensors[0].sign())


@lookalike(randn((4, 5)))
def max_takes_the_last_of_ties():
    class Max(Function):
        @staticmethod
        def forward(ctx, x):
            i = x.shape[-1] - 1 - x.flip(-1).argmax(-1, keepdim=True)
            ctx.save_for_backward(i)
            ctx.shape = x.shape
            return x.gather(-1, i)[..., 0]

        @staticmethod
        def backward(ctx, g):
            (i,) = ctx.saved_tensors
            return g.new_zeros(ctx.shape).scatter(-1, i, g[..., None])

    return Max.apply


@lookalike(lambda seed: torch.ones(3, 4))
def amax_shares_ties():
    return lambda x: x.amax(-1)


@lookalike(randn((3, 6)))
def median():
    return lambda x: x.median(-1).values


@lookalike(randn((2, 9)))
def sort_with_indices():
    return lambda x: x.sort(-1)


@lookalike(randn((3, 6)))
def top_k():
    return lambda x: x.topk(2, -1)


@lookalike(randn((4, 4)), declare=("straight_through",))
def straight_through_declared():
    return function(lambda ctx, x: x.round(), lambda ctx, g: g)


@lookalike(randn((4, 4)))
def straight_through_undeclared():
    """The forward is a staircase: a gradient that is not zero is meant."""
    return function(lambda ctx, x: x.round(), lambda ctx, g: g.clone())


@lookalike(randn((4, 4)))
def straight_through_by_detach():
    return lambda x: x + (x.round() - x).detach()


@lookalike(randn((4, 4)))
def binarised_with_hard_tanh_gradient():
    return function(keep(torch.sign), lambda ctx, g: g * (ctx.saved_tensors[0].abs() <= 1))


@lookalike(randn((4, 6)))
def spike_with_surrogate():
    """A spiking neuron: Heaviside forward, a fast sigmoid's slope backward."""
    return function(
        keep(lambda x: (x > 0).to(x)), lambda ctx, g: g / (1 + ctx.saved_tensors[0].abs()) ** 2
    )


@lookalike(randn((5, 4)))
def gumbel_hard():
    return lambda x: F.gumbel_softmax(x, hard=True)


@lookalike(randn((4, 8)))
def fake_quantise_of_torch():
    return lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)


@lookalike(lambda seed: (torch.randn(5, 4), torch.tensor(0.1)))
def learnt_step_quantiser():
    class LSQ(Function):
        @staticmethod
        def forward(ctx, x, s):
            ctx.save_for_backward(x, s)
            return (x / s).round().clamp(-8, 7) * s

        @staticmethod
        def backward(ctx, g):
            x, s = ctx.saved_tensors
            v = x / s
            inside = (v > -8) & (v < 7)
            ds = torch.where(inside, v.round() - v, v.clamp(-8, 7))
            return g * inside, (g * ds).sum()

    return LSQ.apply


@lookalike(randn((4, 3)), declare=("straight_through",))
def gradient_reversal_declared():
    return function(lambda ctx, x: x.view_as(x), lambda ctx, g: -0.5 * g)


@lookalike(randn((4, 3)))
def gradient_reversal_undeclared():
    """The forward does nothing: what else could it be for?"""
    return function(lambda ctx, x: x.clone(), lambda ctx, g: -g)


@lookalike(randn((4, 3)))
def gradient_clip_undeclared():
    return function(lambda ctx, x: x.view_as(x), lambda ctx, g: g.clamp(-0.1, 0.1))


@lookalike(randn((4, 3)))
def gradient_scaled_undeclared():
    return lambda x: x * 0.1 + x.detach() * 0.9


@lookalike(lambda seed: (torch.randn(6, 4), torch.randn(5, 4)))
def vector_quantiser():
    """Codes straight through, codebook and commitment losses."""

    def f(x, codes):
        i = torch.cdist(x, codes).argmin(-1)
        q = codes[i]
        loss = F.mse_loss(q, x.detach()) + 0.25 * F.mse_loss(q.detach(), x)
        return x + (q - x).detach(), loss

    return f


@lookalike(randn((6, 4), (6, 4), (6, 4), (6, 4)), declare=("stop_gradient",))
def siamese_stop_gradient_declared():
    def f(p1, p2, z1, z2):
        return -(F.cosine_similarity(p1, z2.detach()) + F.cosine_similarity(p2, z1.detach())).mean()

    return f


@lookalike(lambda seed: (torch.randn(6, 4), torch.randn(6, 4)))
def teacher_is_detached():
    return lambda student, teacher: F.kl_div(
        student.log_softmax(-1), teacher.detach().softmax(-1), reduction="batchmean"
    )


@lookalike(lambda seed: (torch.randn(6, 4), torch.rand(6, 4)))
def target_gets_none():
    """Nobody marked the target; the Function hands it None."""

    class MSE(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return F.mse_loss(x, y)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return 2 * g * (x - y) / x.numel(), None

    return MSE.apply


@lookalike(lambda seed: torch.full((3,), 1e9, dtype=torch.float64))
def huge_offset():
    return lambda x: (x + 1e9) * 1.0


@lookalike(randn((5, 4)))
def huge_offset_single():
    return lambda x: x.sin() + 1e4


@lookalike(randn((5, 4)))
def badly_scaled_outputs():
    return lambda x: (x * 1e-6, x.exp() * 1e6)


@lookalike(doubles((5, 4)))
def tiny_slopes():
    return lambda x: x.tanh() * 1e-12


@lookalike(lambda seed: torch.tensor([[1.0, 1.0], [1.0, 1.000001]], dtype=torch.float64))
def ill_conditioned_inverse():
    return torch.linalg.inv


@lookalike(lambda seed: torch.vander(torch.linspace(0.1, 1, 6).double()))
def hilbert_like_solve():
    return lambda a: torch.linalg.solve(a, torch.ones(len(a), dtype=a.dtype))


@lookalike(lambda seed: torch.randn(4, 6) * 30)
def steep_softmax():
    return lambda x: (10 * x).softmax(-1)


@lookalike(lambda seed: torch.rand(8) * 1e-3)
def root_near_zero():
    return torch.sqrt


@lookalike(lambda seed: torch.randn(2, 3, 5), declare=())
def masked_softmax_with_infinity():
    def f(x):
        mask = torch.ones(x.shape[-2:], dtype=torch.bool).triu(1)
        return x.masked_fill(mask, float("-inf")).softmax(-1)

    return f


@lookalike(lambda seed: (torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)))
def flash_attention_causal():
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)


@lookalike(randn((4, 6)))
def high_frequency():
    return lambda x: (50 * x).sin()


@lookalike(randn((6, 3)))
def norm_with_zero_row():
    return lambda x: x.norm(dim=-1)


@lookalike(lambda seed: torch.cat([torch.zeros(1, 3), torch.randn(4, 3)]))
def normalise_with_a_zero_row_given():
    return lambda x: F.normalize(x, dim=-1)


@lookalike(randn((4, 4)))
def product_of_row():
    return lambda x: x.prod(-1)


@lookalike(randn((3, 4), (5, 4)))
def distances():
    return torch.cdist


@lookalike(lambda seed: torch.randn(4, 5).half())
def half_precision_layer():
    return lambda x: F.layer_norm(x, x.shape[-1:])


@lookalike(lambda seed: torch.randn(4, 5).bfloat16())
def bfloat16_gelu():
    return F.gelu


@lookalike(lambda seed: (torch.randn(8, 16).bfloat16(), torch.randn(16, 4).bfloat16()))
def bfloat16_product():
    return torch.matmul


@lookalike(lambda seed: torch.randn(4, 6))
def float32_only():
    """A kernel that refuses anything else."""

    class Kernel(Function):
        @staticmethod
        def forward(ctx, x):
            if x.dtype != torch.float32:
                raise TypeError("float32 expected")
            ctx.save_for_backward(x)
            return x.sigmoid() * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            s = x.sigmoid()
            return g * (s + x * s * (1 - s))

    return Kernel.apply


@lookalike(lambda seed: torch.randn(5, dtype=torch.cfloat))
def complex_modulus():
    return lambda z: z.abs() ** 2 + z.real


@lookalike(lambda seed: torch.randn(3, 8))
def spectrum():
    return lambda x: torch.fft.rfft(x).abs()


@lookalike(lambda seed: (torch.randn(3, 5), torch.tensor([2, 0, 4])))
def masked_loss_of_torch():
    return lambda z, t: F.cross_entropy(z, t, ignore_index=0, label_smoothing=0.1)


@lookalike(lambda seed: torch.randn(6).double())
def hard_threshold():
    return lambda x: torch.where(x > 0.5, x, torch.zeros_like(x))


@lookalike(lambda seed: torch.randn(3, 4))
def floor_plus_identity():
    return lambda x: x.floor() + x**2


@lookalike(lambda seed: (torch.randn(4, 3), nn.BatchNorm1d(3)))
def batch_norm_as_input():
    return lambda x, layer: layer(x)
