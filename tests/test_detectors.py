"""Every detector found by the scan catches a wrong example and passes the right one beside it."""

import ctypes
import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Loop, Verdict, catalog
from bugzoo.subject import Subject, subject

ZOO = catalog.load()
NAMES = sorted(ZOO.detectors)
OWN = [n for n in NAMES if not ZOO.detectors[n].peer]  # a peer's are run by test_peers.py
OPERATION = [n for n in OWN if "operation" in ZOO.detectors[n].needs]
TRAINING = [n for n in OWN if "training" in ZOO.detectors[n].needs]
PROCESS = {
    "rss_slope"
}  # measures the whole process: it differs from run to run, and the verdict with it


def run(name, subject, seed=0):
    return ZOO.detectors[name](subject, torch.Generator().manual_seed(seed))


def normal(*shapes, dtype=torch.float64):
    def draw(gen):
        drawn = (torch.randn(s, generator=gen, dtype=torch.float64) for s in shapes)
        return tuple(x.to(dtype).requires_grad_() for x in drawn)

    return draw


# -- operations, right and wrong


class Cube(Function):
    """y = x ** 3, dx = 3 x ** 2 g."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class WrongFactor(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * g


class ConstantSlope(Cube):
    """The first derivative is right, the second is not."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * g


class WritesThroughData(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        dx = 3 * x**2 * g
        x.data.zero_()
        return dx


class ZeroOverZero(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g * ((x - x) / (x - x))


class Product(Function):
    """y = a b."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return g * b, g * a


class ForgetsSecond(Product):
    @staticmethod
    def backward(ctx, g):
        _, b = ctx.saved_tensors
        return g * b, None


def operation(function, *shapes, **options):
    return Subject(
        op=function.apply, draw=normal(*(shapes or [(2, 3)])), reference=lambda x: x**3, **options
    )


def cubes(wrong=WrongFactor, **options):
    return lambda: operation(Cube, **options), lambda: operation(wrong, **options)


# -- training loops, right and wrong


class Step(Loop):
    """The plain step; `loss_of` is what is sent backward."""

    def loss_of(self, x, y):
        return F.cross_entropy(self.model(x), y)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss_of(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class NeverZeroed(Step):
    def step(self, x, y):
        loss = self.loss_of(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Uphill(Step):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss_of(x, y)
        (-loss).backward()
        self.optimizer.step()
        return loss.item()


class Tiny(Step):
    def loss_of(self, x, y):
        return 1e-9 * super().loss_of(x, y)


class Huge(Step):
    def loss_of(self, x, y):
        return 1e6 * super().loss_of(x, y)


class RootOfZero(Step):
    def loss_of(self, x, y):
        return super().loss_of(x, y) + 0 * (0 * self.model[0].weight).sqrt().sum()


class CutInTheMiddle(Step):
    def loss_of(self, x, y):
        return F.cross_entropy(self.model[1:](self.model[0](x).detach()), y)


class NotDivided(Step):
    def step(self, x, y):
        self.optimizer.zero_grad()
        total = 0.0
        for part, classes in zip(x.chunk(4), y.chunk(4)):
            loss = self.loss_of(part, classes)
            loss.backward()
            total += loss.item() / 4
        self.optimizer.step()
        return total


class KeepsLosses(Step):
    def loss_of(self, x, y):
        loss = super().loss_of(x, y)
        self.__dict__.setdefault("history", []).append(loss)
        return loss


class KeepsMegabytes(Step):
    def loss_of(self, x, y):
        self.__dict__.setdefault("history", []).append(torch.ones(500_000, dtype=torch.float64))
        return super().loss_of(x, y)


class ScalesSavedInput(Step):
    def loss_of(self, x, y):
        loss = super().loss_of(x, y)
        x.data.mul_(2)
        return loss


def loops(wrong):
    return lambda: Subject(start=Step), lambda: Subject(start=wrong)


def texts(wrong):
    right = "def step(self):\n    self.o.zero_grad()\n    loss.backward()\n    self.o.step()\n"
    return lambda: Subject(source=right), lambda: Subject(source=wrong)


EXAMPLES = {
    "adjoint_dot_test": cubes(),
    "audit": loops(NeverZeroed),
    "anomaly_mode": cubes(ZeroOverZero),
    "gradcheck": cubes(),
    "gradcheck_fast": cubes(),
    "gradgradcheck": cubes(ConstantSlope, twice=True),
    "gradient_flow": loops(Tiny),
    "gradient_hooks": loops(Huge),
    "live_tensors": loops(KeepsLosses),
    "loss_falls": loops(Uphill),
    "loss_scale_watch": loops(NotDivided),
    "missing_gradient": loops(CutInTheMiddle),
    "nan_guard": loops(RootOfZero),
    "numerical_gradient": cubes(),
    "one_index": cubes(),
    "overfit_one_batch": loops(Uphill),
    "random_direction": cubes(),
    "reference_gradient": cubes(),
    "relative_error": cubes(),
    "rss_slope": loops(KeepsMegabytes),
    "saved_tensor_ledger": cubes(WritesThroughData),
    "shape_check": (
        lambda: operation(Product, (2, 3), (2, 3)),
        lambda: operation(ForgetsSecond, (2, 3), (2, 3)),
    ),
    "source_lint": texts("def step(self):\n    loss.backward()\n    self.o.step()\n"),
    "stale_gradient": loops(NeverZeroed),
    "summed_loss": cubes(),
    "taylor_remainder": cubes(),
    "training_ledger": loops(ScalesSavedInput),
    "watch": loops(NeverZeroed),
}


# A detector without an example of its own is held to a plain wrong gradient, or a run that climbs.
for _name in sorted(set(OWN) - set(EXAMPLES)):
    EXAMPLES[_name] = loops(Uphill) if "training" in ZOO.detectors[_name].needs else cubes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_wrong_one_is_caught(name):
    """The verdict is an alarm, with a score above the right one's and numbers in its reason."""
    right, wrong = EXAMPLES[name]
    ctypes.CDLL(None).malloc_trim(0)  # no reserve of the allocator's, in which a leak could hide
    verdict = run(name, wrong())

    assert verdict.outcome == "alarm"
    assert verdict.score > run(name, right()).score
    assert re.search(r"\d", verdict.because)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_right_one_passes(name):
    """The verdict is clear."""
    right, _ = EXAMPLES[name]

    assert run(name, right()).outcome == "clear"


@pytest.mark.parametrize("name", NAMES)
def test_a_detector_says_what_it_is(name):
    """Claims, cost, blind spots and the source of every threshold are stated; a name is its file."""
    d = ZOO.detectors[name]

    assert d.path.endswith(f"/{name}.py")
    assert d.needs and d.claims and d.cost and len(d.blind_to) > 20
    assert d.doc.splitlines()[0].rstrip().endswith((".", ":", "?"))
    assert all(re.search(r"\d|exact|NaN", key) and value for key, value in d.thresholds.items())


def globals_now():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        random.getstate(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_num_threads(),
    )


@pytest.mark.parametrize("twin", [0, 1])
@pytest.mark.parametrize("name", EXAMPLES)
def test_same_seed_same_verdict_and_no_global_state(name, twin):
    """A verdict depends on subject and generator alone, and no global state is touched."""
    example = EXAMPLES[name][twin]
    before = globals_now()
    first = run(name, example(), seed=7)
    random.random(), np.random.rand(), torch.rand(1)
    torch.set_rng_state(torch.tensor(before[0], dtype=torch.uint8))
    np.random.set_state(("MT19937", *np.random.get_state()[1:]))
    changed = globals_now()
    second = run(name, example(), seed=7)

    assert first == second or name in PROCESS
    assert globals_now() == changed


# -- odd subjects: nobody may raise, nobody may call them broken


def whole_numbers(gen):
    x = torch.randn(3, 4, generator=gen, dtype=torch.float64).requires_grad_()
    return x, torch.tensor([2, 0, 1]), 2.0


def several(x):
    return x.sin(), x.argmax(-1), x.exp()


def left_as_it_is(x, i, scale):
    return x[i] * scale


def draws_nothing(gen):
    return (torch.ones(2, dtype=torch.float64),)


ODD = {
    "an index and a number": (left_as_it_is, whole_numbers),
    "several outputs, one of them whole numbers": (several, normal((2, 3))),
    "a scalar": (torch.tanh, normal(())),
    "no element": (torch.tanh, normal((0, 3))),
    "a true gradient of 0": (lambda x: torch.softmax(x, -1), normal((4, 1))),
    "a constant": (lambda x: x * 0 + 1, normal((2, 3))),
    "a linear function": (lambda x: 3 * x, normal((2, 3))),
    "float32": (torch.tanh, normal((3, 3), dtype=torch.float32)),
    "bfloat16": (torch.tanh, normal((3, 3), dtype=torch.bfloat16)),
    "no input requires grad": (torch.tanh, draws_nothing),
    "a transposed input": (torch.tanh, lambda gen: (normal((3, 2))(gen)[0].detach().mT.requires_grad_(),)),
    "one input twice": (torch.mul, lambda gen: normal((2, 2))(gen) * 2),
    "a forward that is infinite": (lambda x: x / 0, normal((2, 2))),
    "a wide input cast to float32": (lambda x: x.float().tanh(), normal((2, 2))),
    "a random forward": (lambda x: F.dropout(x, 0.5), normal((4, 4))),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("name", OPERATION)
def test_odd_but_right_subjects_are_not_called_broken(name, case):
    """Whole numbers, tuples, empty and 0-dimensional tensors, narrow types: clear or abstain."""
    op, draw = ODD[case]
    odd = Subject(
        op=op, draw=draw, reference=op, twice=True, deterministic=case != "a random forward"
    )
    with torch.random.fork_rng():
        verdict = run(name, odd)

    assert verdict.outcome in ("clear", "abstain"), verdict


@pytest.mark.parametrize(
    "name",
    ["gradcheck", "numerical_gradient", "random_direction", "reference_gradient", "shape_check",
     "adjoint_dot_test", "taylor_remainder", "summed_loss", "relative_error", "one_index"],
)  # fmt: skip
def test_an_output_that_is_cut_off_is_caught(name):
    """No output carries a gradient, yet the function is not constant."""
    cut = Subject(op=lambda x: x.detach().sin(), draw=normal((2, 3)), reference=torch.sin)

    assert run(name, cut).outcome == "alarm"


class Transposed(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (3 * x**2 * g).mT


def test_a_shape_that_the_engine_refuses_is_an_alarm():
    """What the engine says about shapes is what this detector is asked for."""
    verdict = run("shape_check", operation(Transposed, (2, 3)))

    assert verdict.outcome == "alarm"
    assert "[3, 2]" in verdict.because and "[2, 3]" in verdict.because


# -- hooks


@pytest.mark.parametrize("name", TRAINING)
def test_every_hook_is_taken_off(name):
    """After the verdict neither parameters nor optimizers carry a hook."""
    runs = []
    run(name, Subject(start=lambda gen: runs.append(Step(gen)) or runs[-1]))

    assert runs
    for left in runs:
        assert not any(
            p._backward_hooks or p._post_accumulate_grad_hooks for p in left.model.parameters()
        )
        assert not left.optimizer._optimizer_step_pre_hooks
        assert not left.optimizer._optimizer_step_post_hooks


# -- right loops that are easy to call wrong


class Accumulates(Step):
    def step(self, x, y):
        self.optimizer.zero_grad()
        total = 0.0
        for part, classes in zip(x.chunk(4), y.chunk(4)):
            loss = self.loss_of(part, classes) / 4
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        return total


class ScaledAndUnscaled(Step):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss_of(x, y)
        (1024 * loss).backward()
        for p in self.model.parameters():
            p.grad.div_(1024)
        self.optimizer.step()
        return loss.item()


class Normalised(Step):
    """Batch normalisation changes its running statistics in the forward that saves them."""

    def build(self, gen):
        body = super().build(gen)
        return nn.Sequential(body[0], nn.BatchNorm1d(32, dtype=torch.float64), *body[1:])


class LogsFloats(Step):
    def loss_of(self, x, y):
        loss = super().loss_of(x, y)
        self.__dict__.setdefault("history", []).append(loss.item())
        return loss


class Frozen(Step):
    def build(self, gen):
        body = super().build(gen)
        body[0].requires_grad_(False)
        return body


class Rivals(Loop):
    """Two networks in turn; the backward of one leaves gradients in the other, cleared before use."""

    def build(self, gen):
        both = nn.ModuleDict({"maker": super().build(gen), "judge": nn.Linear(10, 1).double()})
        for p in both["judge"].parameters():
            p.data.normal_(0, 0.3, generator=gen)
        return both

    @property
    def optimizers(self):
        if "pair" not in self.__dict__:
            self.pair = [torch.optim.SGD(m.parameters(), lr=0.05) for m in self.model.values()]
        return self.pair

    def step(self, x, y):
        maker, judge = self.optimizers
        judge.zero_grad()
        made = self.model["maker"](x)
        loss = self.model["judge"](made.detach()).square().mean()
        loss.backward()
        judge.step()
        maker.zero_grad()
        other = F.cross_entropy(made, y) + self.model["judge"](made).square().mean()
        other.backward()
        maker.step()
        return loss.item() + other.item()


class InTurn(Step):
    """L-BFGS calls the step's closure itself."""

    def __init__(self, gen):
        super().__init__(gen)
        self.optimizer = torch.optim.LBFGS(
            self.model.parameters(), lr=0.1, max_iter=2, history_size=3
        )

    def step(self, x, y):
        def closure():
            self.optimizer.zero_grad()
            loss = self.loss_of(x, y)
            loss.backward()
            return loss

        return self.optimizer.step(closure).item()


@pytest.mark.parametrize(
    ("name", "loop"),
    [
        *((n, Rivals) for n in ("stale_gradient", "missing_gradient", "training_ledger")),
        *((n, InTurn) for n in ("stale_gradient", "training_ledger", "nan_guard")),
        *((n, Accumulates) for n in ("stale_gradient", "loss_scale_watch", "gradient_flow")),
        ("loss_scale_watch", ScaledAndUnscaled),
        ("training_ledger", Normalised),
        ("live_tensors", LogsFloats),
        ("live_tensors", InTurn),
        ("missing_gradient", Frozen),
        ("gradient_flow", Frozen),
    ],
)
def test_right_loops_that_look_wrong_pass(name, loop):
    """Accumulation, loss scaling, rivals, closures, running statistics, frozen layers: no alarm."""
    verdict = run(name, Subject(start=loop))

    assert verdict.outcome != "alarm", verdict


# -- rules of the linter, one by one


BACKWARD = (
    "class S:\n    @staticmethod\n    def backward(ctx, g):\n        (x,) = ctx.saved_tensors\n"
)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("return g.mul(x)", "return g.mul_(x)"),
        ("g = g.clone()\n        return g.mul_(x)", "g *= x\n        return g"),
        ("dx = g * x\n        dx[0] = 0\n        return dx", "g[x < 0] = 0\n        return g"),
        ("return g * x.data", "x.data.mul_(2)\n        return g * x"),
    ],
)
def test_writes_into_what_is_lent_are_found(right, wrong):
    """The cotangent and saved tensors are lent; a copy under the same name is not."""

    assert run("source_lint", Subject(source=f"{BACKWARD}        {right}\n")).outcome == "clear"
    assert run("source_lint", Subject(source=f"{BACKWARD}        {wrong}\n")).outcome == "alarm"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("total = loss.item()\n    loss.backward()", "loss = a.item() * b\n    loss.backward()"),
        ("loss.backward()", "loss.backward(retain_graph=True)"),
        ("loss.backward()\n    p.grad = None\n    o.step()", "loss.backward()\n    o.step()"),
    ],
)
def test_wrong_steps_are_found_in_the_text(right, wrong):
    """A cut loss, a retained graph, gradients that are never cleared."""

    assert run("source_lint", Subject(source=f"def f():\n    {right}\n")).outcome == "clear"
    assert run("source_lint", Subject(source=f"def f():\n    {wrong}\n")).outcome == "alarm"


# -- facts about strategies that this project states


@pytest.mark.parametrize(
    ("name", "forwards"),
    [("random_direction", 4), ("taylor_remainder", 6), ("one_index", 4), ("adjoint_dot_test", 3),
     ("reference_gradient", 2), ("shape_check", 1), ("anomaly_mode", 1), ("saved_tensor_ledger", 1)],
)  # fmt: skip
@pytest.mark.parametrize("side", [1, 8])
def test_what_is_said_to_cost_the_same_at_every_size_does(name, forwards, side):
    """The passes that a detector spends, counted; a pass of the reference counts as a forward."""
    counted = operation(Cube, (side, side))
    run(name, counted)

    assert (counted.forwards, counted.backwards) == (forwards, 1)


@pytest.mark.parametrize("name", ["numerical_gradient", "relative_error", "summed_loss"])
def test_two_forwards_for_every_element(name):
    """2 n + 2 forwards and one backward."""
    counted = operation(Cube, (3, 5))
    run(name, counted)

    assert (counted.forwards, counted.backwards) == (2 * 15 + 2, 1)


def on(specimen, case, name, seed=0):
    s = ZOO.specimens[specimen]
    return run(name, subject(s, s.case(case)), seed)


def test_gradcheck_passes_a_write_into_the_cotangent():
    """One-hot cotangents are made anew for each row, so nobody sees that they were spoiled."""

    assert on("relu/writes_into_cotangent", "plain", "gradcheck").outcome == "clear"


def test_fast_gradcheck_sees_a_write_that_is_not_idempotent():
    """It hands the same cotangent to two backwards, and calls the second one not reentrant."""

    assert on("softmax/scratch_in_cotangent", "rows", "gradcheck").outcome == "clear"
    assert on("softmax/scratch_in_cotangent", "rows", "gradcheck_fast").outcome == "alarm"


def test_a_summed_loss_passes_a_lost_batch_term_of_layer_norm():
    """The outputs of a row sum to 0, so the true gradient of the sum is 0, and so is the wrong one."""

    assert on("layer_norm/batch_mean", "rows", "summed_loss").outcome == "clear"
    assert on("layer_norm/batch_mean", "rows", "one_index").outcome == "clear"
    assert on("layer_norm/batch_mean", "rows", "relative_error").outcome == "alarm"


def test_one_row_hides_a_mean_over_the_batch():
    """With one row no strategy can tell the two means apart; one that makes more rows can."""
    outcomes = {n: on("layer_norm/batch_mean", "one_row", n).outcome for n in OPERATION}

    assert outcomes.pop("checkup") == "alarm"
    assert set(outcomes.values()) <= {"clear", "abstain"}


class Magnitude(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g.abs()


def test_gradcheck_is_blind_to_the_sign_of_the_cotangent():
    """Its cotangents are never negative, in neither mode; a Gaussian one shows |g| at once."""
    wrong = Subject(op=Magnitude.apply, draw=normal((2, 3)), reference=torch.clone)

    assert run("gradcheck", wrong).outcome == "clear"
    assert run("gradcheck_fast", wrong).outcome == "clear"
    assert run("summed_loss", wrong).outcome == "clear"
    assert run("random_direction", wrong).outcome == "alarm"
    assert run("numerical_gradient", wrong).outcome == "alarm"


class OneWrongEntry(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        dx = g.clone()
        dx[0] += g[1]
        return dx


def test_fast_gradcheck_misses_one_wrong_entry_of_a_large_jacobian():
    """Its tolerance grows with n m: at n = 256 an entry that is wrong by 1 passes."""
    wrong = Subject(op=OneWrongEntry.apply, draw=normal((256,)), reference=torch.clone)

    assert run("gradcheck_fast", wrong).outcome == "clear"
    assert run("gradcheck", wrong).outcome == "alarm"
    assert run("random_direction", wrong).outcome == "alarm"


def test_a_dot_test_by_two_vjps_passes_every_wrong_backward():
    """It derives J u from the backward under test; forward mode through a reference does not."""
    wrong = operation(WrongFactor)
    x, u, g = (torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator()) for _ in "xug")
    _, j_u = torch.autograd.functional.jvp(WrongFactor.apply, x, u)
    (dx,) = wrong.vjp((x.requires_grad_(),), g)

    assert torch.allclose((j_u * g).sum(), (u * dx).sum())
    assert run("adjoint_dot_test", wrong).outcome == "alarm"


def test_differences_alarm_at_a_kink_and_references_do_not():
    """relu at exactly 0: a false alarm of every strategy that differentiates numerically."""
    kink = Subject(
        op=torch.relu,
        draw=lambda gen: (torch.zeros(3, dtype=torch.float64, requires_grad=True),),
        reference=torch.relu,
    )

    assert run("gradcheck", kink).outcome == "alarm"
    assert run("random_direction", kink).outcome == "alarm"
    assert run("reference_gradient", kink).outcome == "clear"


def test_the_ledger_sees_what_the_version_counter_misses():
    """A write through .data into a saved tensor raises nothing, yet the next backward is wrong."""
    broken = operation(WritesThroughData)
    (x,) = broken.inputs(torch.Generator().manual_seed(0))
    y = broken.op(x)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0].clone()
    second = torch.autograd.grad(y.sum(), x)[0]

    assert not torch.equal(first, second)
    assert "elements changed" in run("saved_tensor_ledger", broken).because


def test_most_wrong_gradients_still_make_the_loss_fall():
    """The loss of a loop that never clears its gradients falls all the same."""

    assert on("plain_step/never_zeroed", "sgd", "loss_falls").outcome == "clear"
    assert on("plain_step/never_zeroed", "sgd", "stale_gradient").outcome == "alarm"


@pytest.mark.parametrize(
    ("name", "loop", "place"),
    [
        ("stale_gradient", NeverZeroed, "0.weight"),
        ("missing_gradient", CutInTheMiddle, "0.weight"),
        ("nan_guard", RootOfZero, "gradient of 0.weight, step 1"),
    ],
)
def test_the_place_is_named(name, loop, place):
    """A detector that can tell says which parameter, and when."""

    assert run(name, Subject(start=loop)).where == place


def test_a_verdict_names_the_wrong_element():
    """`where` is the element, `because` both numbers."""

    class WrongAtOne(Cube):
        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            dx = 3 * x**2 * g
            dx[1, 2] = 7.0
            return dx

    verdict = run("numerical_gradient", operation(WrongAtOne))

    assert isinstance(verdict, Verdict)
    assert verdict.where == "dx0[1, 2]"
    assert verdict.because.startswith("backward 7, expected ")
