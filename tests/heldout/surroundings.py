"""Right code that looks wrong: layouts, caches, state, randomness, the protocol used to its limits."""

import math

import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from heldout import doubles, lookalike, randn


@lookalike(randn((4, 5)))
def once_differentiable_function():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    return Square.apply


@lookalike(doubles((3, 6), (6,)))
def layer_norm_saves_intermediates():
    """First order alone is right: the mean and deviation it saves are cut from the graph."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx, x, w):
            rstd = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            xhat = (x - x.mean(-1, keepdim=True)) * rstd
            ctx.save_for_backward(xhat, rstd, w)
            return xhat * w

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            xhat, rstd, w = ctx.saved_tensors
            gh = g * w
            dx = gh - gh.mean(-1, keepdim=True) - xhat * (gh * xhat).mean(-1, keepdim=True)
            return rstd * dx, (g * xhat).flatten(0, -2).sum(0)

    return LayerNorm.apply


@lookalike(randn((4, 5)))
def refuses_second_order():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            if torch.is_grad_enabled():
                raise NotImplementedError("no second derivative")
            return 2 * g * ctx.saved_tensors[0]

    return Square.apply


@lookalike(doubles((4, 5)))
def saves_its_output():
    """exp from its output: twice differentiable, as the output is saved as such."""

    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    return Exp.apply


@lookalike(doubles((4, 5)))
def tanh_from_output_by_formula():
    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.tanh()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * (1 - y * y)

    return Tanh.apply


@lookalike(lambda seed: (torch.randn(10, 4), torch.tensor([1, 5, 5, 2])))
def sparse_embedding():
    return lambda w, i: F.embedding(i, w, sparse=True)


@lookalike(randn((3, 4)))
def in_place_with_mark_dirty():
    class ReluInPlace(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.clamp_(min=0)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * (ctx.saved_tensors[0] > 0)

    return lambda x: ReluInPlace.apply(x * 1.0)


@lookalike(randn((3, 4)))
def view_as_output():
    return lambda x: x.reshape(-1)[1:]


@lookalike(randn((3, 4)))
def transposed_output():
    return lambda x: x.mT


@lookalike(randn((3, 1)))
def expanded_output():
    return lambda x: x.expand(-1, 5)


@lookalike(randn((3, 4)))
def function_returns_a_view():
    class Flatten(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x.view(-1) if x.is_contiguous() else x.reshape(-1)

        @staticmethod
        def backward(ctx, g):
            return g.reshape(ctx.shape)

    return Flatten.apply


@lookalike(randn((3, 4)))
def hands_its_cotangent_on():
    """x + 1: the cotangent itself is returned, untouched."""

    class AddOne(Function):
        @staticmethod
        def forward(ctx, x):
            return x + 1

        @staticmethod
        def backward(ctx, g):
            return g

    return AddOne.apply


@lookalike(randn((3, 4), (3, 4)))
def one_cotangent_for_two():
    class Add(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g, g

    return Add.apply


@lookalike(randn((2, 6, 8)))
def caches_tables_by_length():
    """Rotary tables kept by length and dtype: the same numbers each time."""
    tables = {}

    def f(x):
        t, d = x.shape[-2], x.shape[-1]
        key = t, d, x.dtype
        if key not in tables:
            angle = torch.arange(t)[:, None] * torch.arange(d)[None] / 10.0
            tables[key] = angle.cos().to(x), angle.sin().to(x)
        cos, sin = tables[key]
        return x * cos + x.roll(1, -1) * sin

    return f


@lookalike(randn((4, 3)))
def workspace_that_is_copied():
    """A scratch buffer, kept for the next call; what is handed out is a copy."""
    scratch = {}

    class Sin(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            key = tuple(x.shape), x.dtype
            buffer = scratch.setdefault(key, torch.empty_like(x.detach()))
            torch.mul(g, x.detach().cos(), out=buffer)
            return buffer.clone()

    return Sin.apply


@lookalike(randn((5, 4)))
def batch_norm_in_training():
    return nn.BatchNorm1d(4)


@lookalike(randn((5, 4)))
def network_with_dropout():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


@lookalike(randn((2, 5, 8)))
def transformer_layer():
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)


@lookalike(randn((2, 5, 3)))
def recurrent_layer():
    torch.manual_seed(0)
    return nn.GRU(3, 4, batch_first=True)


@lookalike(randn((2, 5, 3)))
def lstm_layer():
    torch.manual_seed(0)
    return nn.LSTM(3, 4, batch_first=True)


@lookalike(randn((4, 6)))
def spectral_norm():
    torch.manual_seed(0)
    return nn.utils.parametrizations.spectral_norm(nn.Linear(6, 3))


@lookalike(randn((8, 8)))
def dropout_of_torch():
    return lambda x: F.dropout(x, 0.3)


@lookalike(randn((6, 5)))
def reparametrised_noise():
    return lambda x: x + x.exp() * torch.randn_like(x)


@lookalike(randn((4, 5)))
def noise_of_its_own():
    """A generator that moves on with every call: two calls differ, each is right."""
    gen = torch.Generator().manual_seed(0)

    def f(x):
        return x * (torch.rand(x.shape, generator=gen) < 0.5)

    return f


@lookalike(randn((4, 5)))
def noise_of_numpy():
    import numpy as np

    rng = np.random.default_rng(0)
    return lambda x: x * torch.from_numpy(rng.random(tuple(x.shape))).to(x.dtype)


@lookalike(randn((4, 5), (5, 5)))
def checkpointed_block():
    def block(x, w):
        return torch.dropout((x @ w).tanh(), 0.3, True)

    return lambda x, w: checkpoint(block, x, w, use_reentrant=False)


@lookalike(randn((4, 5), (5, 5)))
def checkpointed_reentrant():
    def block(x, w):
        return (x @ w).tanh()

    return lambda x, w: checkpoint(block, x, w, use_reentrant=True)


@lookalike(randn((4, 6)))
def refuses_other_shapes():
    def f(x):
        if x.shape != (4, 6):
            raise ValueError("4 x 6 only")
        return x.sin()

    return f


@lookalike(randn((2, 4, 8)))
def even_sizes_alone():
    def f(x):
        a, b = x.chunk(2, -1)
        return torch.cat([-b, a], -1)

    return f


@lookalike(lambda seed: (torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), None, 2, 1))
def conv_with_integers():
    return lambda x, w, b, stride, padding: F.conv2d(x, w, b, stride, padding)


@lookalike(lambda seed: (torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2]), 3))
def segment_sum():
    return lambda x, seg, n: x.new_zeros(n, x.shape[1]).index_add(0, seg, x)


@lookalike(lambda seed: (torch.randn(2, 3, 4), torch.rand(2, 3) > 0.5))
def masked_mean():
    def f(x, mask):
        m = mask[..., None].to(x.dtype)
        return (x * m).sum(1) / m.sum(1).clamp_min(1)

    return f


@lookalike(randn((3, 4), (3, 4), (3, 4)))
def returns_log_sum_exp_besides():
    """Fused attention's idiom: an auxiliary output that is marked as not differentiable."""

    class Attention(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            s = q @ k.mT / math.sqrt(q.shape[-1])
            lse = s.logsumexp(-1)
            ctx.save_for_backward(q, k, v, lse)
            ctx.mark_non_differentiable(lse)
            return (s - lse[..., None]).exp() @ v, lse

        @staticmethod
        def backward(ctx, g, _):
            q, k, v, lse = ctx.saved_tensors
            p = (q @ k.mT / math.sqrt(q.shape[-1]) - lse[..., None]).exp()
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
            return ds @ k, ds.mT @ q, p.mT @ g

    return Attention.apply


@lookalike(randn((3, 4)))
def metrics_besides_the_loss():
    return lambda x: (x.square().mean(), x.detach().norm(), x.argmax(-1))


@lookalike(randn((3, 4)))
def dictionary_of_outputs():
    return lambda x: {"loss": x.exp().mean(), "logits": x * 2, "n": 3}


@lookalike(lambda seed: ([torch.randn(3, 2), torch.randn(3, 4)],))
def list_of_tensors():
    return lambda parts: torch.cat(parts, -1).tanh()


@lookalike(randn((4, 5)))
def gradient_through_autograd_grad():
    """An energy's force: the forward calls autograd itself."""

    def f(x):
        with torch.enable_grad():
            z = x if x.requires_grad else x.detach().requires_grad_()
            (force,) = torch.autograd.grad(z.sin().square().sum(), z, create_graph=True)
        return force

    return f


@lookalike(lambda seed: torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
def cholesky():
    return torch.linalg.cholesky


@lookalike(doubles((4, 3)))
def singular_values():
    return torch.linalg.svdvals


@lookalike(lambda seed: torch.randn(3, 4))
def counts_its_calls():
    calls = []

    def f(x):
        calls.append(len(calls))
        return x.sin()

    return f


@lookalike(randn((6, 4)))
def ema_of_activations():
    """A buffer that follows the activations and is not part of the result."""

    class Observed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(4))
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            with torch.no_grad():
                self.mean.lerp_(x.mean(0).to(self.mean), 0.1)
            return self.linear(x)

    torch.manual_seed(1)
    return Observed()


@lookalike(randn((3, 5), (5, 2)))
def needs_input_grad_used_well():
    class Linear(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(
                x if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None
            )
            return x @ w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dx = g @ w.mT if ctx.needs_input_grad[0] else None
            dw = x.mT @ g if ctx.needs_input_grad[1] else None
            return dx, dw

    return Linear.apply


@lookalike(randn((3, 5)))
def frees_what_it_saved():
    """Lets its tensors go in the backward: a second backward raises, loudly."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    return Square.apply


@lookalike(randn((2, 3, 6)))
def accumulates_in_float32():
    """Half inputs would be summed in float32; float32 inputs stay as they are."""
    return lambda x: x.float().sum(-1).to(x.dtype) if x.dtype == torch.half else x.sum(-1)


@lookalike(lambda seed: torch.randn(64, 64))
def autocast_inside():
    def f(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return (x @ x).float()

    return f


@lookalike(randn((4, 3)))
def jagged_by_data():
    """The size of the result depends on the values."""
    return lambda x: x[x > 0]
