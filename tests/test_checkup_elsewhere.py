"""Where the start hides a mistake: constants, caches, modes, lists of inputs; and right code beside it."""

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

import bugzoo
from bugzoo.checkup import variations
from bugzoo.checkup.given import inputs_of
from bugzoo.checkup.target import Target


def drawn(*shapes, dtype=torch.float32):
    """A maker of normal inputs, unmarked."""

    def make(seed):
        gen = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(s, generator=gen, dtype=dtype) for s in shapes)

    return make


def gated(right):
    """A module whose gate tanh(a) is 0 at the start, where its slope is 1."""

    class Gate(Function):
        @staticmethod
        def forward(ctx, x, a):
            ctx.save_for_backward(x, a)
            return x * a.tanh()

        @staticmethod
        def backward(ctx, g):
            x, a = ctx.saved_tensors
            slope = 1 - a.tanh() ** 2 if right else 1.0
            return g * a.tanh(), (g * x).sum(0) * slope

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.inner, self.gate = nn.Linear(4, 6), nn.Parameter(torch.zeros(6))

        def forward(self, x):
            return Gate.apply(self.inner(x), self.gate)

    return Block().double()


@pytest.mark.parametrize("right", [True, False])
def test_a_gate_of_zero_is_opened(right):
    """Of all leaves the gate has the smallest part in the slope: it is also moved alone."""
    assert bugzoo.check(gated(right), drawn((5, 4), dtype=torch.float64)).ok is right


@pytest.mark.parametrize("right", [True, False])
def test_a_backward_of_an_older_weight_shows(right):
    """The transpose of a weight is kept from the first call; the weight moves on."""

    class Product(Function):
        kept = None

        @staticmethod
        def forward(ctx, x, w):
            if right or Product.kept is None:
                Product.kept = w.detach().t().clone()
            ctx.save_for_backward(x)
            ctx.t = Product.kept
            return x @ w

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g @ ctx.t, x.t() @ g

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.w = nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return Product.apply(x, self.w)

    found = bugzoo.check(Layer().double(), drawn((5, 4), dtype=torch.float64))
    assert found.ok is right


@pytest.mark.parametrize("right", [True, False])
def test_complex_inputs_that_are_real_become_complex(right):
    """On the real line conj() does nothing."""

    class Square(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return 2 * g * (z.conj() if right else z)

    def make(seed):
        gen = torch.Generator().manual_seed(seed)
        return (torch.randn(4, generator=gen, dtype=torch.float64).to(torch.complex128),)

    assert bugzoo.check(Square.apply, make).ok is right


@pytest.mark.parametrize("right", [True, False])
def test_a_number_that_does_not_learn_is_another_one_too(right):
    """A scale of 2.0 may be kept as an integer unseen."""

    class Scale(Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(k if right else k.to(torch.int32))
            return x * k

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0], None

    def make(seed):
        return *drawn((4, 3))(seed), torch.tensor(2.0)

    assert bugzoo.check(Scale.apply, make).ok is right


@pytest.mark.parametrize("returns", [True, False])
def test_a_gradient_that_is_also_written_into_grad(returns):
    """Added by the backward itself and by autograd: twice. By the backward alone: a checkpoint's way."""

    class Product(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x)
            ctx.w = w
            return x @ w

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            dw = x.t() @ g
            ctx.w.grad = dw.clone() if ctx.w.grad is None else ctx.w.grad + dw
            return g @ ctx.w.t(), dw if returns else None

    w = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)))
    found = bugzoo.check(lambda x: Product.apply(x, w), drawn((5, 4)))

    assert any("writes into .grad" in f.what for f in found.findings) is returns
    assert w.grad is None


def test_a_call_that_uses_the_graph_of_an_earlier_one_is_a_finding():
    """Keys are kept with their graphs: the second backward meets what the first has freed."""

    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.k, self.seen = nn.Linear(3, 3), []

        def forward(self, x):
            self.seen.append(self.k(x).tanh())
            return F.softmax(x @ torch.cat(self.seen).t(), -1) @ torch.cat(self.seen)

    found = bugzoo.check(Cached(), drawn((4, 3)))

    assert any("second time" in f.what for f in found.findings), str(found)


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_tensors_as_the_first_input(kind):
    """What stands in a list is no argument of its own."""

    def make(seed):
        a, b, w = drawn((3, 2), (3, 2), (4, 1))(seed)
        return kind([a, b]), w

    found = bugzoo.check(lambda xs, w: torch.cat(tuple(xs), -1) @ w, make)
    assert found.ok, str(found)


def test_a_complex_result_of_real_inputs():
    """The given precision is held against float64 in complex numbers too."""

    def make(seed):
        gen = torch.Generator().manual_seed(seed)
        return torch.randn(3, 4, generator=gen), torch.randn(
            3, 4, generator=gen, dtype=torch.cfloat
        )

    for fn, inputs in ((torch.mul, make), (torch.fft.rfft, drawn((3, 8)))):
        found = bugzoo.check(fn, inputs)
        assert found.ok, str(found)


def test_offsets_stay_in_order():
    """Where bags begin is not drawn anew out of order; torch would read past them."""
    bag = nn.EmbeddingBag(10, 3, mode="mean")
    found = bugzoo.check(
        bag, lambda seed: (torch.tensor([1, 2, 4, 5, 4, 3, 2, 9]), torch.tensor([0, 4, 4, 6]))
    )
    assert found.ok, str(found)


@pytest.mark.parametrize("training", [True, False])
def test_the_other_mode_is_on_for_its_own_variation_alone(training):
    """Others are examined in the mode that was given."""
    layer = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)).train(training)
    target = Target(layer)
    inputs, target.marked = inputs_of(drawn((4, 3))(0), True)
    met = [
        (v.name, layer[1].training)
        for v in variations.derive(target, inputs, torch.Generator().manual_seed(0))
    ]

    assert len(met) > 8
    assert all((mode is not training) == ("module in" in name) for name, mode in met)
    assert layer[1].training is training


@pytest.mark.parametrize("size", [(5, 5), (4, 3)])
def test_a_deviation_of_one_number_throughout_is_zero(size):
    """Not next to zero, where the slope is rounding."""
    found = bugzoo.check(lambda x: x.std(), drawn(size, dtype=torch.float64))
    assert found.ok, str(found)


def test_a_draw_by_rejection_has_an_implicit_gradient():
    """torch's reparametrised gamma: right in distribution, and not the slope of the seeded draw."""

    def fn(a):
        return torch.distributions.Gamma(F.softplus(a) + 1.5, torch.ones(())).rsample()

    found = bugzoo.check(fn, drawn((8,)))

    assert found.ok, str(found)
    assert any(n.kind == "surrogate" and "draw" in n.what for n in found.notes)


def test_a_target_that_follows_in_the_forward_is_put_back():
    """Frozen parameters that each forward moves are its state: every call starts from the same."""

    class Follower(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.online, self.target = nn.Linear(4, 3), nn.Linear(4, 3).requires_grad_(False)

        def forward(self, a, b):
            with torch.no_grad():
                for p, q in zip(self.online.parameters(), self.target.parameters()):
                    q.mul_(0.5).add_(0.5 * p.to(q.dtype))
                aim = self.target(b)
            return 2 - 2 * F.cosine_similarity(self.online(a), aim).mean()

    module = Follower()
    before = module.target.weight.clone()
    for seed in range(3):
        found = bugzoo.check(module, drawn((4, 4), (4, 4)), seed=seed)
        assert found.ok, str(found)

    assert torch.equal(module.target.weight, before)
