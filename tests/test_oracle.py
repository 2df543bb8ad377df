"""Each channel sees the wrong one beside the right one; a lying label is caught."""

import pytest
import torch
from torch.autograd import Function

from bugzoo.cases import consumed, normal
from bugzoo.model import Label, Specimen, Truth
from bugzoo.oracle import (
    claims,
    contract,
    differences,
    heap,
    judge,
    memory,
    reentrancy,
    second_order,
    side_effect,
    value,
)
from bugzoo.oracle.probe import Probe, cotangent, leaves
from bugzoo.specimens.operations import layer_norm, relu

PLAIN = normal("plain", (3, 4))


def cube(x):
    return x * x * x


class Cube(Function):
    """Right in every channel."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Halved(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 1.5 * x * x * g


class Spoils(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g.mul_(x).mul_(x)


class OneBuffer(Cube):
    buffer = torch.zeros(3, 4, dtype=torch.float64)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        torch.mul(3 * x * x, g, out=OneBuffer.buffer)
        return OneBuffer.buffer


class OnTheClass(Cube):
    last = None

    @staticmethod
    def forward(ctx, x):
        OnTheClass.last = x.detach()
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        return 3 * OnTheClass.last * OnTheClass.last * g


class Detached(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * g


class Hoards(Cube):
    kept = []  # noqa: RUF012

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        Hoards.kept.append(g * x)
        return 3 * x * x * g


class ZeroIsNan(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g * g / g


class Raises(Cube):
    @staticmethod
    def backward(ctx, g):
        raise RuntimeError("not today")


class Narrower(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (3 * x * x * g).float().double() if g.is_contiguous() else 3 * x * x * g


PAIRS = {
    "value": (value.examine, Halved),
    "side_effect": (side_effect.examine, Spoils),
    "reentrancy": (reentrancy.examine, OneBuffer),
    "reentrancy, state on the class": (reentrancy.examine, OnTheClass),
    "second_order": (second_order.examine, Detached),
    "memory": (memory.examine, Hoards),
    "contract, zero cotangent": (contract.examine, ZeroIsNan),
    "contract, raises": (contract.examine, Raises),
}


def probe(cls, case=PLAIN, reference=cube, twice=True):
    return Probe(
        cls.apply, Truth((case,), reference, twice=twice), case, torch.Generator().manual_seed(3)
    )


@pytest.mark.parametrize("channel", PAIRS)
def test_the_wrong_one_is_seen_and_the_right_one_is_not(channel):
    """A channel's probe is awake on its defect and asleep on the correct twin."""
    examine, wrong = PAIRS[channel]

    assert examine(probe(wrong)).awake
    assert not examine(probe(Cube)).awake


def test_single_precision_rounding_is_seen_in_float64():
    """1e-7 relative is enough for a detour through float32."""

    assert value.examine(probe(Narrower)).awake


def test_loud_bugs_are_marked():
    """A pass that raises is awake in the contract, loudly."""
    witness = contract.examine(probe(Raises))

    assert witness.loud
    assert "not today" in witness.words


def test_without_a_reference_differences_decide():
    """Central differences of order six agree with the right one and not with the wrong one."""
    right, wrong = (value.examine(probe(c, reference=None)) for c in (Cube, Halved))

    assert not right.awake and right.error < 1e-9
    assert wrong.awake
    assert "differences" in wrong.reference


def test_differences_are_accurate_on_a_hard_function():
    """exp(sin(3x)) at random points: ten digits."""
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(5, generator=gen, dtype=torch.float64, requires_grad=True)
    g = torch.randn(5, generator=gen, dtype=torch.float64)

    def op(t):
        return (torch.exp(torch.sin(t)),)

    (got,) = differences.gradients(op, (x,), (g,))
    (true,) = torch.autograd.grad(op(x), x, (g,))

    assert (got - true).abs().max() < 1e-8


def test_a_gradient_of_zero_is_not_called_wrong():
    """Softmax under a constant cotangent: its true gradient is 0, and rounding is all there is."""

    class Softmax(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.softmax(-1)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return y * (g - (y * g).sum(-1, keepdim=True))

    case = consumed(PLAIN, "ones")

    def reference(x):
        return x.softmax(-1)

    assert not value.examine(probe(Softmax, case, reference)).awake


@pytest.mark.parametrize("layout", ["transposed", "narrow", "expanded"])
def test_cotangents_have_the_layout_they_are_named_for(layout):
    """The layouts that gradcheck never uses."""
    y = torch.zeros(3, 4, dtype=torch.float64)
    g = cotangent(y, layout, torch.Generator().manual_seed(0))

    assert g.shape == y.shape
    assert not g.is_contiguous()


def test_oracle_restores_nothing_because_it_changes_nothing():
    """The global random state is neither read nor seeded."""
    state = torch.random.get_rng_state()
    specimen = _specimen(relu.WritesIntoCotangent, Label("x", "f", "side_effect", ("plain",)))
    judge.judge(specimen, specimen.truth.cases[0])

    assert torch.equal(torch.random.get_rng_state(), state)


def test_same_verdict_twice():
    """The oracle is deterministic."""
    specimen = _specimen(layer_norm.BatchMean, Label("x", "f", "value", ("rows",)), layer_norm)
    first, second = (judge.judge(specimen, specimen.truth.cases[0]) for _ in range(2))

    assert [w for w in first.witnesses if w.channel != "memory"] == [
        w for w in second.witnesses if w.channel != "memory"
    ]


@pytest.mark.parametrize(
    ("label", "case"),
    [
        (Label("lies about hiding", "f", "value", ("rows",), ("three_axes",)), "three_axes"),
        (Label("lies about showing", "f", "value", ("one_row",)), "one_row"),
        (Label("lies about the channel", "f", "memory", ("rows",)), "rows"),
    ],
)
def test_a_lying_label_is_caught(label, case):
    """Each way to lie: awake where hidden, asleep where shown, another channel."""
    specimen = _specimen(layer_norm.BatchMean, label, layer_norm)

    assert [c.case for c in claims.claims(specimen) if not c.holds] == [case]


def test_a_correct_twin_that_is_wrong_is_caught():
    """A 'correct' twin with a bug in it is a lie in every case that shows it."""
    broken = _specimen(layer_norm.BatchMean, None, layer_norm)

    assert not all(c.holds for c in claims.claims(broken))


def test_growth_counts_bytes_held():
    """A list that keeps a kilobyte a step grows by a kilobyte a step; one that does not, by 0."""
    kept = []

    def hoard():
        kept.append(torch.zeros(128, dtype=torch.float64))

    assert heap.growth(hoard) >= 1024
    assert heap.growth(lambda: torch.zeros(128)) < memory.LEAK


def test_inputs_of_a_draw_are_leaves():
    """The floating inputs of the shared draws require grad."""

    assert len(leaves(PLAIN.draw(torch.Generator()))) == 1


def _specimen(cls, label, module=relu):
    truth = Truth(tuple(module.CASES), module.F.relu if module is relu else module.reference)
    twin = "broken" if label else "correct"
    return Specimen("t/t", "operation", twin, cls, truth, "t.py", "operations", label, "t/t")
