"""The checkup on modules and on what stands inside a function: state, starts, surrogates, contracts."""

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

import bugzoo
from bugzoo.errors import UserError


def drawn(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("cut", [False, True])
def test_a_kernel_that_rounds_is_not_random(cut):
    """svdvals takes another path without a graph, 2e-7 apart: its values are examined all the same."""

    def scaled(x):
        s = torch.linalg.svdvals(x)
        return s / (s.max().item() if cut else s.max())

    found = bugzoo.check(scaled, (drawn(5, 4),))

    assert found.values and found.ok is not cut, str(found)


def test_what_cannot_be_examined_is_not_called_ok():
    """A generator of its own: two runs differ, and the first line says what that means."""
    gen = torch.Generator().manual_seed(0)
    found = bugzoo.check(lambda x: x * torch.rand(4, generator=gen), (drawn(4),))

    assert str(found).startswith("not examined: the values of the gradient")
    assert "no defect" not in found._repr_html_() and ">not examined<" in found._repr_html_()


class Centred(nn.Module):
    """x minus a running mean that the forward has just moved, times w squared."""

    def __init__(self, cut):
        super().__init__()
        self.w, self.cut = nn.Parameter(drawn(4)), cut
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return (x - self.mean) * self.w * (self.w.data if self.cut else self.w)


@pytest.mark.parametrize("cut", [False, True])
def test_a_running_mean_starts_anew_and_is_a_constant(cut):
    """The average is no input: the gradient that leaves it out is right, the cut weight is not."""
    module = Centred(cut)
    found = bugzoo.check(module, (drawn(6, 4),))

    assert found.ok is not cut, str(found)
    assert not module.mean.any()


class LayerNorm(Function):
    """x normalised over its last axis, times w. Wrong: the mean terms take g and forget w."""

    @staticmethod
    def forward(ctx, x, w, wrong):
        r = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
        n = (x - x.mean(-1, keepdim=True)) * r
        ctx.save_for_backward(n, r, w)
        ctx.wrong = wrong
        return n * w

    @staticmethod
    def backward(ctx, g):
        n, r, w = ctx.saved_tensors
        h = g if ctx.wrong else g * w
        mean, proj = h.mean(-1, keepdim=True), (h * n).mean(-1, keepdim=True)
        return r * (g * w - mean - n * proj), (g * n).sum(0), None


class Norm(nn.Module):
    def __init__(self, wrong):
        super().__init__()
        self.w, self.wrong = nn.Parameter(torch.ones(5)), wrong

    def forward(self, x):
        return LayerNorm.apply(x, self.w, self.wrong)


@pytest.mark.parametrize("wrong", [False, True])
def test_weights_of_ones_hide_nothing(wrong):
    """At its first values the weight cancels; the parameters are moved, and put back."""
    module = Norm(wrong)
    found = bugzoo.check(module, (drawn(4, 5),))

    assert found.ok is not wrong, str(found)
    assert bool((module.w == 1).all())


class Linear(Function):
    """x w. Wrong: the weight gets a gradient only where the input does."""

    @staticmethod
    def forward(ctx, x, w, wrong):
        ctx.save_for_backward(x, w)
        ctx.wrong = wrong
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        if ctx.wrong and not ctx.needs_input_grad[0]:
            return None, None, None
        return g @ w.mT, x.mT @ g, None


class Head(nn.Module):
    def __init__(self, wrong):
        super().__init__()
        self.w, self.wrong = nn.Parameter(drawn(5, 3)), wrong

    def forward(self, x):
        return Linear.apply(x, self.w, self.wrong)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_frozen_input_takes_nothing_from_the_parameters(wrong):
    """On top of a frozen body: the head still learns."""
    found = bugzoo.check(Head(wrong), (drawn(4, 5),))

    assert found.ok is not wrong, str(found)


class Sign(Function):
    """Straight through."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g


@pytest.mark.parametrize("cut", [False, True])
def test_a_surrogate_inside_is_held_while_the_rest_is_examined(cut):
    """Binary weights times a scale: right by design, and the cut scale still shows."""

    def binary(x, w):
        scale = w.abs().mean()
        return x @ (Sign.apply(w) * (scale.item() if cut else scale))

    found = bugzoo.check(binary, (drawn(4, 5), drawn(5, 3).requires_grad_()))

    assert found.ok is not cut, str(found)


@pytest.mark.parametrize("wrong", [False, True])
def test_parameters_are_put_back_to_the_last_bit(wrong):
    """Of a module that is called and of one that is an argument, in float64, whatever is found."""
    module = Head(wrong).double()
    before = module.w.detach().clone()
    bugzoo.check(module, (drawn(4, 5, dtype=torch.float64),))
    bugzoo.check(lambda x, m: m(x) * x.detach()[:, :3], (drawn(4, 5, dtype=torch.float64), module))

    assert torch.equal(module.w, before) and module.w.requires_grad and module.w.grad is None


@pytest.mark.parametrize("shift", [False, True])
def test_keys_that_outnumber_queries_are_tried(shift):
    """The causal mask of a cache: the lengths are equal in the example, and no output shape tells."""

    class Attention(Function):
        @staticmethod
        def forward(ctx, q, k, v):
            n, m = q.shape[0], k.shape[0]
            mask = torch.ones(n, m, dtype=torch.bool).tril(m - n)
            p = (q @ k.mT).masked_fill(~mask, -torch.inf).softmax(-1)
            ctx.save_for_backward(q, k, v, p)
            return p @ v

        @staticmethod
        def backward(ctx, g):
            q, k, v, p = ctx.saved_tensors
            mask = torch.ones_like(p).tril(0 if shift else p.shape[1] - p.shape[0])
            p = p * mask
            dp = g @ v.mT
            ds = p * (dp - (p * dp).sum(-1, keepdim=True))
            return ds @ k, ds.mT @ q, p.mT @ g

    x = drawn(3, 5, 4, dtype=torch.float64)
    found = bugzoo.check(Attention, tuple(x.unbind(0)))

    assert found.ok is not shift, str(found)


def test_padding_rows_of_torch_get_no_gradient_by_contract():
    """Of nn.Embedding and of F.embedding, with tokens as the only input of the module."""
    tokens = torch.tensor([1, 0, 3, 1])

    assert bugzoo.check(nn.Embedding(5, 3, padding_idx=0), (tokens,)).ok
    assert bugzoo.check(lambda i, w: F.embedding(i, w, padding_idx=0), (tokens, drawn(5, 3))).ok


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_derived_inputs_do_not_kill_the_process():
    """CTC with targets that are no class, convolutions grown along every axis, a CSR matrix."""
    lengths, targets = (torch.full((2,), n) for n in (6, 3)), torch.tensor([[1, 2, 4], [3, 3, 1]])
    steps, sizes = lengths
    found = bugzoo.check(
        lambda x: F.ctc_loss(x.log_softmax(-1), targets, steps, sizes), (drawn(6, 2, 5),)
    )

    assert found.ok, str(found)
    assert bugzoo.check(F.conv3d, (drawn(1, 1, 4, 4, 4), drawn(1, 1, 1, 1, 1))).ok
    with pytest.raises(UserError, match="layout"):
        bugzoo.check(torch.neg, (drawn(3, 3).to_sparse_csr(),))
