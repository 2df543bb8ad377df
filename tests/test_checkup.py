"""The checkup on code of all kinds: the wrong one is found with where and why, the right one is not."""

import gc
import typing
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

import bugzoo
from bugzoo.checkup.target import copies
from bugzoo.errors import UserError


def normal(*shapes, dtype=torch.float64):
    """A maker of normal inputs."""

    def make(seed):
        gen = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(s, generator=gen, dtype=torch.float64).to(dtype) for s in shapes]
        return tuple(x.requires_grad_() for x in drawn)

    return make


def function(forward, backward):
    """An autograd.Function from two functions; `backward(ctx, *g)`."""
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Made", (Function,), members).apply


def saved(forward):
    """A forward that saves its inputs."""

    def wrapped(ctx, *inputs):
        ctx.save_for_backward(*inputs)
        return forward(*inputs)

    return wrapped


def matmul_backward(ctx, g):
    x, w = ctx.saved_tensors
    return g @ w.mT, x.mT @ g


def transposed_where_square(ctx, g):
    x, w = ctx.saved_tensors
    return (g @ w if w.shape[0] == w.shape[1] else g @ w.mT), x.mT @ g


def tail_forgotten(ctx, g):
    (x,) = ctx.saved_tensors
    dx = 2 * x * g
    whole = dx.shape[-1] // 4 * 4
    dx[..., whole:] = 0
    return dx


def packed(ctx, g):
    (x,) = ctx.saved_tensors
    return torch.as_strided(g, g.shape, torch.empty(g.shape).stride()) * 2 * x


def only_of_first(ctx, g):
    a, b = ctx.saved_tensors
    return (g * b, g * a) if ctx.needs_input_grad[0] else (None, None)


def divided_by_x(ctx, g):
    (x,) = ctx.saved_tensors
    return g[..., None] * x.prod(-1, keepdim=True) / x


def keeps(ctx, x):
    ctx.x = x
    return x**2


def row(ctx, w, i):
    ctx.save_for_backward(i)
    ctx.rows = len(w)
    return w[i]


def overwrites(ctx, g):
    (i,) = ctx.saved_tensors
    dw = g.new_zeros(ctx.rows, g.shape[-1])
    dw[i] = g
    return dw, None


def adds(ctx, g):
    (i,) = ctx.saved_tensors
    return g.new_zeros(ctx.rows, g.shape[-1]).index_add(0, i, g), None


def indices(seed):
    (w,) = normal((6, 3))(seed)
    return w, torch.tensor([4, 1, 5])


BUFFER = torch.zeros(3, 4, dtype=torch.float64)


def one_buffer(ctx, g):
    (x,) = ctx.saved_tensors
    if g.shape != BUFFER.shape:
        return 2 * x * g
    return torch.mul(2 * x, g, out=BUFFER)


square = saved(lambda x: x**2)
product = saved(torch.mul)
WRONG = {
    "a factor": (function(square, lambda c, g: c.saved_tensors[0] * g), normal((3, 4)), "value"),
    "silent where square": (
        function(saved(torch.matmul), transposed_where_square), normal((5, 3), (3, 2)), "value",
    ),
    "the tail of a block": (function(square, tail_forgotten), normal((2, 8)), "value"),
    "packed cotangent": (function(square, packed), normal((3, 4)), "value"),
    "clipped cotangent": (
        function(square, lambda c, g: 2 * c.saved_tensors[0] * g.clamp(-1, 1)), normal((3, 4)), "value",
    ),
    "cotangent overwritten": (
        function(square, lambda c, g: g.mul_(2 * c.saved_tensors[0])), normal((3, 4)), "side_effect",
    ),
    "asks for the wrong input": (function(product, only_of_first), normal((3,), (3,)), "contract"),
    "zero divides": (function(saved(lambda x: x.prod(-1)), divided_by_x), normal((3, 4)), "value"),
    "duplicates overwrite": (function(row, overwrites), indices, "value"),
    "one buffer": (function(square, one_buffer), normal((3, 4)), "reentrancy"),
    "kept on ctx": (function(keeps, lambda c, g: 2 * c.x * g), normal((3, 4)), "side_effect"),
    "a slice for a sum": (
        function(saved(lambda a, b: a + b), lambda c, g: (g, g[0])), normal((4, 3), (3,)), "value",
    ),
    "same tensor twice": (
        function(product, lambda c, g: (
            g * c.saved_tensors[1],
            g * c.saved_tensors[0] * (c.saved_tensors[0] is not c.saved_tensors[1])
            * (not torch.equal(*c.saved_tensors)),
        )), normal((3,), (3,)), "value",
    ),
    "a detached weight": (lambda x, w: x @ w.detach() + 0 * w.sum(), normal((3, 2), (2, 2)), "value"),
    "the graph is cut": (lambda x: torch.from_numpy(x.detach().numpy() ** 2), normal((3,)), "value"),
    "nothing arrives": (lambda x, w: (x * 2).sum() + w.detach().sum(), normal((3,), (3,)), "value"),
}  # fmt: skip
RIGHT = {
    "matmul": (function(saved(torch.matmul), matmul_backward), normal((5, 3), (3, 2))),
    "gather": (function(row, adds), indices),
    "relu": (torch.relu, normal((3, 4))),
    "relu at zero": (torch.relu, (torch.zeros(3, dtype=torch.float64),)),
    "max with ties": (lambda x: x.max(-1).values, (torch.ones(2, 3, dtype=torch.float64),)),
    "float32": (torch.tanh, normal((3, 4), dtype=torch.float32)),
    "float32 attention": (
        F.scaled_dot_product_attention, normal((2, 3, 4), (2, 5, 4), (2, 5, 4), dtype=torch.float32),
    ),
    "bfloat16": (torch.tanh, normal((3, 4), dtype=torch.bfloat16)),
    "complex": (lambda z: z * z.conj() + z**2, normal((3,), dtype=torch.complex128)),
    "dropout": (lambda x: F.dropout(x, 0.5), normal((4, 4))),
    "sort": (lambda x: x.sort(-1).values, normal((3, 5))),
    "root": (lambda x: x.abs().sqrt(), normal((3, 4))),
    "two outputs": (lambda x: (x.sin(), x.argmax(-1), x.exp()), normal((3, 4))),
    "layer norm": (lambda x: F.layer_norm(x, (x.shape[-1],)), normal((4, 6))),
    "a large offset": (lambda x: (x + 1e9) * 1.0, normal((3,))),
    "a module": (
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), normal((5, 3), dtype=torch.float32),
    ),
    "normalised rows": (lambda x: F.normalize(x, dim=-1), normal((3, 4))),
    "max pool": (lambda x: F.max_pool1d(x[None], 3, 2)[0], normal((2, 9))),
    "gather of torch": (lambda w, i: F.embedding(i, w), indices),
    "in place on a copy": (lambda x: x.clone().mul_(2).relu_(), normal((3, 4))),
    "cross entropy": (
        lambda z, t: F.cross_entropy(z, t),
        lambda seed: (*normal((4, 5))(seed), torch.tensor([0, 3, 1, 4])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_the_wrong_one_is_found(name):
    """In its channel, with words; the same seed finds the same."""
    fn, make, channel = WRONG[name]
    found = bugzoo.check(fn, make)

    assert not found.ok
    assert channel in [f.channel for f in found.findings], str(found)
    assert max(map(len, str(found).splitlines())) <= 80
    assert [f.where for f in bugzoo.check(fn, make).findings] == [f.where for f in found.findings]


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_one_is_not(name):
    """Kinks, ties, narrow types, randomness, several outputs, modules: no finding."""
    found = bugzoo.check(*RIGHT[name])

    assert found.ok, str(found)


def test_the_place_and_both_numbers_are_named():
    """One wrong element of a hundred."""

    def spoiled(ctx, g):
        (x,) = ctx.saved_tensors
        dx = 2 * x * g
        dx[3, 7] *= 1.5
        return dx

    found = bugzoo.check(function(square, spoiled), normal((10, 10)))

    assert "[3, 7]" in found.findings[0].where
    assert found.findings[0].yours / found.findings[0].true == pytest.approx(1.5, rel=1e-3)


def test_a_surrogate_is_noted_and_a_lent_cotangent_still_watched():
    """Of a staircase nobody wants the derivative; writing into the cotangent is wrong all the same."""
    make = normal((3, 4))
    ste = function(lambda ctx, x: x.round(), lambda ctx, g: g.clone())
    writes = function(lambda ctx, x: x.round(), lambda ctx, g: g.mul_(1.5))

    assert "surrogate" in [n.kind for n in bugzoo.check(ste, make).notes]
    assert bugzoo.check(ste, make).ok
    assert bugzoo.check(ste, make, declare="straight_through").ok
    assert not bugzoo.check(writes, make, declare="straight_through").ok


def test_the_passes_on_the_given_size_are_few():
    """At most 150, whatever is found on small inputs."""
    found = bugzoo.check(torch.tanh, normal((60, 60)))

    assert 0 < found.given <= 150


def test_a_function_that_does_not_return_is_given_up():
    """With a budget: one message."""

    def hangs(x):
        while True:
            x = x * 1

    with pytest.raises(UserError, match="did not return within the budget"):
        bugzoo.check(hangs, normal((2,)), budget=0.2)


def test_cuda_that_is_not_there_is_one_message():
    """Of the maker, not of torch."""

    def make(seed):
        raise AssertionError("Torch not compiled with CUDA enabled")

    with pytest.raises(UserError, match="CUDA"):
        bugzoo.check(torch.tanh, make)


def test_a_module_is_left_as_it_was():
    """Buffers, modes and gradients."""
    layer = nn.BatchNorm1d(3)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    assert bugzoo.check(layer, normal((5, 3), dtype=torch.float32)).ok

    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    assert layer.training and all(p.grad is None for p in layer.parameters())


def test_cost_does_not_grow_with_the_inputs():
    """The same number of passes for a hundred times the elements."""
    few, many = (bugzoo.check(torch.tanh, normal((n, n))).cost for n in (8, 80))

    assert many.forwards + many.backwards <= 1.5 * (few.forwards + few.backwards)


def test_a_budget_is_kept_and_what_was_left_out_is_said():
    """No time: the core only, and a note."""
    found = bugzoo.check(torch.tanh, normal((3, 4)), budget=1e-9)

    assert any(n.kind == "skipped" for n in found.notes)


def test_the_core_is_twelve_passes():
    """budget=0: the inputs given, whatever the function; a wrong backward is found all the same."""
    layer = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    for fn, make in (
        (F.scaled_dot_product_attention, normal((2, 3, 4), (2, 5, 4), (2, 5, 4))),
        (F.scaled_dot_product_attention, normal((2, 3, 4), (2, 5, 4), (2, 5, 4), dtype=torch.float32)),
        (layer, normal((5, 4), dtype=torch.float32)),
        (lambda x: (x.sin(), x.detach().cos()), normal((6, 6))),
    ):  # fmt: skip
        found = bugzoo.check(fn, make, budget=0)

        assert found.ok and found.done == ["as given"]
        assert found.cost.forwards + found.cost.backwards <= 12
        assert any("core" in n.what for n in found.notes)
    assert not bugzoo.check(*WRONG["a factor"][:2], budget=0).ok


@pytest.mark.parametrize("budget", [-1, float("nan")])
def test_a_budget_is_a_time(budget):
    """One message."""
    with pytest.raises(UserError, match="expected seconds, 0 or more"):
        bugzoo.check(torch.tanh, normal((3, 4)), budget=budget)


def test_results_are_data():
    """A frame, a dictionary, HTML."""
    found = bugzoo.check(*WRONG["a factor"][:2])

    assert list(found.to_frame().channel) == [f.channel for f in found.findings]
    assert found.to_dict()["ok"] is False
    assert "<pre" in found._repr_html_()
    assert bugzoo.check(torch.tanh, normal((2, 2))).to_frame().empty


def test_inputs_and_global_state_are_left_alone():
    """What was given stays as it was, bit by bit."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before, state = x.clone(), torch.random.get_rng_state()
    bugzoo.check(torch.tanh, (x,))

    assert torch.equal(x, before) and not x.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("fn", "make", "message"),
    [
        (lambda x: 1 / 0, normal((2,)), "the function raised on the inputs given: ZeroDivisionError"),
        (lambda x: 3, normal((2,)), "returns no floating or complex tensor"),
        (lambda x: x.argmax(), normal((2,)), "returns no floating or complex tensor"),
        (torch.neg, lambda seed: (torch.tensor([1, 2]),), "no differentiable input"),
        (nn.Linear, normal((2,)), r"Linear\(\) cannot be built without arguments"),
        ("tanh", normal((2,)), "got str; expected a function"),
        (torch.neg, lambda seed: 1 / 0, "make_inputs raised ZeroDivisionError"),
        (torch.neg, lambda seed: (torch.zeros(np.random.randint(1, 10**6)),), "other shapes each time"),
    ],
)  # fmt: skip
def test_bad_input_is_one_message(fn, make, message):
    """What, where, what was expected; never a traceback of ours."""
    with pytest.raises(UserError, match=message):
        bugzoo.check(fn, make)


def test_an_unknown_declaration_is_refused():
    """With the words that there are."""
    with pytest.raises(UserError, match="straight_through"):
        bugzoo.check(torch.tanh, normal((2,)), declare="trust_me")


@pytest.mark.slow
def test_no_healthy_specimen_of_the_zoo_alarms(zoo):
    """Correct twins and controls, in every case."""
    from bugzoo.model import Context
    from bugzoo.subject import subject

    alarms = []
    for s in zoo.specimens.values():
        for case in s.cases:
            if s.twin != "broken" and not isinstance(case, Context):
                given = subject(s, case)
                inputs = given.inputs(torch.Generator().manual_seed(11))
                found = bugzoo.check(given.op, inputs, declare=s.truth.declares)
                alarms += [(s.id, case.name, str(f)) for f in found.findings]

    assert alarms == []


def test_gradients_that_the_caller_has_switched_off_are_on_inside():
    """No cut graph is seen where there is none."""
    with torch.no_grad():
        found = bugzoo.check(torch.tanh, normal((3, 4)))

    assert found.ok, str(found)


class Doubled(Function):
    """Right: y = 2 x."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


class Once(Doubled):
    """Wrong by a factor of 2."""

    @staticmethod
    def backward(ctx, g):
        return g


class Block(nn.Module):
    """Built without arguments."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return Doubled.apply(self.inner(x))


def test_classes_stand_for_what_they_make():
    """A Function for its apply, a Module class for a module; the random state is left alone."""
    state = torch.random.get_rng_state()

    assert bugzoo.check(Doubled, normal((3, 4))).ok
    assert not bugzoo.check(Once, normal((3, 4))).ok
    assert bugzoo.check(Block, normal((3, 4), dtype=torch.float32)).ok
    assert torch.equal(torch.random.get_rng_state(), state)


class Narrow(Function):
    """y = (x - t)^2, with a float32 buffer in the backward: right to seven digits."""

    narrow = True

    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        return (x - t).square()

    @classmethod
    def backward(cls, ctx, g):
        x, t = ctx.saved_tensors
        if cls.narrow:
            x = x.float()
        return 2 * g * (x - t), -2 * g * (x - t)


class Wide(Narrow):
    narrow = False


class Float32(Narrow):
    """Forward and backward in float32, whatever comes: a function of seven digits."""

    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        return (x.float() - t.float()).square().to(x.dtype)


@pytest.mark.parametrize(("op", "caught"), [(Narrow, True), (Wide, False), (Float32, False)])
def test_digits_that_a_backward_loses_are_missed(op, caught):
    """In float64 a float32 buffer is a finding, but not where the forward has no more digits either."""
    found = bugzoo.check(op, normal((4, 5), (4, 5)))

    assert any("digits of float32" in f.what for f in found.findings) is caught, str(found)
    assert found.ok is not caught


class Hoarding(Function):
    kept: typing.ClassVar = []

    @classmethod
    def keep(cls, g):
        cls.kept.append(g)

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @classmethod
    def backward(cls, ctx, g):
        cls.keep(g)
        return g * ctx.saved_tensors[0].cos()


class Caching(Hoarding):
    """Only the last cotangent is kept."""

    @classmethod
    def keep(cls, g):
        cls.kept[:] = [g]


def test_copies_go_without_the_garbage_collector():
    """Large inputs are not kept alive by a cycle of ours."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        made = copies((torch.zeros(3), [torch.zeros(2)]))
        refs = [weakref.ref(made[0]), weakref.ref(made[1][0])]
        del made
        assert [ref() for ref in refs] == [None, None]
    finally:
        if enabled:
            gc.enable()


@pytest.mark.parametrize(("op", "caught"), [(Hoarding, True), (Caching, False)])
def test_a_hoard_is_not_a_cache(op, caught):
    """Every call's cotangent kept is a leak; the last one's is not."""
    found = bugzoo.check(op, normal((4, 5)))

    assert any(f.channel == "memory" for f in found.findings) is caught, str(found)


def test_an_undeclared_write_that_returns_its_input_is_a_write():
    """clamp_() on the argument, without mark_dirty: the caller's tensor is gone."""
    found = bugzoo.check(
        function(lambda ctx, x: x.clamp_(-1.0, 1.0), lambda ctx, g: g), normal((4, 5))
    )

    assert [f.channel for f in found.findings][:1] == ["side_effect"], str(found)
