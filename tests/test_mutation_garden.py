"""Operators that the catalog gives nothing to do: here each of them breaks something that the oracle sees."""

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Loop, source
from bugzoo.cases import normal
from bugzoo.loop import dense
from bugzoo.model import Context, Specimen, Truth
from bugzoo.mutation.bench import Bench
from bugzoo.mutation.breed import by_name, mutants
from bugzoo.mutation.classify import classify

EPS = 1e-5


class Standardise(Function):
    """y = (x - mean) / sqrt(var + eps), everything computed anew in the backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + EPS).sqrt()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        std = (x.var(-1, correction=0, keepdim=True) + EPS).sqrt()
        y = (x - x.mean(-1, keepdim=True)) / std
        return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / std


class Attend(Function):
    """y = softmax(tril(q k')) v with a causal mask, recomputed; einsum and needs_input_grad."""

    @staticmethod
    def forward(x, w):
        s = (x @ w).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf"))
        return s.softmax(-1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dx = dw = None
        s = (x @ w).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf"))
        p = s.softmax(-1).tril()
        ds = p * (g - (g * p).sum(-1, keepdim=True))
        if ctx.needs_input_grad[0]:
            dx = torch.einsum("ij,kj->ik", ds, w.contiguous())
        if ctx.needs_input_grad[1]:
            dw = torch.einsum("ij,ik->kj", ds, x)
        return dx, dw


class Flatten(Function):
    """y = x as one vector."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.reshape(-1)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        g = g.reshape(x.shape)
        return g.reshape(x.shape)


class Net(nn.Module):
    def __init__(self, gen):
        super().__init__()
        self.layers = nn.ModuleList([dense(gen, 64, 16), dense(gen, 16, 16)])
        self.scale = nn.Parameter(torch.ones(16, dtype=torch.float64))
        self.norm = nn.BatchNorm1d(16, dtype=torch.float64)
        self.head = dense(gen, 16, 10)

    def forward(self, x):
        h = torch.tanh(self.layers[0](x))
        h = self.norm(h) * self.scale
        shift = 0.1 * h
        h = F.dropout(h, 0.0, self.training) + self.layers[1](h)
        return self.head(h + shift)


class Trainer(Loop):
    def build(self, gen):
        model = Net(gen)
        model.eval()
        return model

    def __init__(self, gen, **options):
        super().__init__(gen, **options)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)

    def step(self, x, y):
        self.model.train()
        self.optimizer.zero_grad()
        for n, (part, target) in enumerate(zip(x.split(8), y.split(8))):
            loss = F.cross_entropy(self.model(part), target)
            (loss / 4).backward()
            if (n + 1) % 4 == 0:
                self.optimizer.step()
                self.scheduler.step()
        return loss.item()


class Scheduled(Trainer):
    def step(self, x, y):
        self.model.train()
        self.optimizer.zero_grad()
        for part, target in zip(x.split(8), y.split(8)):
            loss = F.cross_entropy(self.model(part), target)
            (loss / 4).backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss.item()


def textbook(loop, x, y):
    """The step of both trainers, by autograd.grad."""
    loop.model.train()
    parameters = list(loop.model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for part, target in zip(x.split(8), y.split(8)):
        loss = F.cross_entropy(loop.model(part), target) / 4
        for t, d in zip(total, torch.autograd.grad(loss, parameters)):
            t += d
    for p, t in zip(parameters, total):
        p.grad = t
    loop.optimizer.step()
    loop.scheduler.step()


def standardise(x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + EPS).sqrt()


def attend(x, w):
    return (x @ w).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf")).softmax(-1)


SQUARE = normal("square", (4, 4), (4, 4))
TRUTHS = {
    Standardise: Truth((normal("rows", (4, 6)), normal("flat", (4, 6), scale=1e-3)), standardise),
    Attend: Truth((SQUARE,), attend),
    Flatten: Truth((normal("square", (3, 3)),), lambda x: x.reshape(-1)),
    Trainer: Truth((Context("sgd", {"lr": 0.2}, 20),), textbook),
    Scheduled: Truth((Context("sgd", {"lr": 0.2}, 20),), textbook),
}


def planted(cls):
    """The class as a specimen of its own, ready to classify mutants."""
    kind = "loop" if issubclass(cls, Loop) else "operation"
    name = f"garden/{cls.__name__.lower()}"
    return Bench(Specimen(name, kind, "correct", cls, TRUTHS[cls], __file__, "garden", base=name))


@pytest.fixture(scope="module")
def garden():
    return {cls: planted(cls) for cls in TRUTHS}


@pytest.mark.parametrize("cls", TRUTHS)
def test_the_garden_is_healthy(garden, cls):
    """What is planted is right."""
    assert classify(garden[cls].text, garden[cls]).kind == "equivalent"


@pytest.mark.parametrize(
    ("operator", "cls", "channel"),
    [
        ("biased_for_unbiased", Standardise, "value"),
        ("forget_root", Standardise, "value"),
        ("drop_epsilon", Standardise, "value"),
        ("swap_triangle", Attend, "value"),
        ("shift_diagonal", Attend, "value"),
        ("permute_einsum", Attend, "value"),
        ("zero_for_infinity", Attend, "value"),
        ("wrong_slot", Attend, "contract"),
        ("reshape_of_transpose", Flatten, "value"),
        ("plain_container", Scheduled, "trajectory"),
        ("plain_tensor", Scheduled, "trajectory"),
        ("rewrap_tensor", Scheduled, "trajectory"),
        ("no_grad_block", Scheduled, "trajectory"),
        ("detach_value", Scheduled, "trajectory"),
        ("freeze_layer", Scheduled, "trajectory"),
        ("new_parameter_each_call", Scheduled, "trajectory"),
        ("write_through_data", Scheduled, "trajectory"),
        ("wrong_mode", Scheduled, "trajectory"),
        ("drop_mode", Scheduled, "trajectory"),
        ("schedule_before_step", Scheduled, "trajectory"),
        ("schedule_each_micro", Scheduled, "trajectory"),
        ("step_inside_loop", Scheduled, "trajectory"),
        ("step_each_micro", Trainer, "trajectory"),
        ("window_off_by_one", Trainer, "trajectory"),
    ],
)
def test_operators_break_something(garden, operator, cls, channel):
    """At least one mutant is silently wrong, in the channel that is expected."""
    held = garden[cls]
    made = mutants(held.text, operators=by_name([operator]))
    if "Net" in held.text:
        made += mutants(held.text, "Net", operators=by_name([operator]))
    found = [classify(m, held) for m in made]

    assert any(channel in channels for f in found for channels in f.awake.values())


@pytest.mark.parametrize("operator", ["ignore_needs_grad", "drop_contiguous"])
def test_what_is_wasted_is_not_wrong(garden, operator):
    """A gradient that nobody wants is dropped by the engine; torch follows strides by itself."""
    made = mutants(garden[Attend].text, operators=by_name([operator]))

    assert {classify(m, garden[Attend]).kind for m in made} <= {"equivalent", "masked_by_engine"}
    assert made


def test_both_styles_of_context(garden):
    """`setup_context` saves: its inputs and outputs are known by their places."""
    operators = {m.operator for m in mutants(garden[Attend].text) if m.method == "setup_context"}

    assert {"save_on_ctx", "save_on_class", "save_output_for_input"} <= operators
    assert source.standalone(Attend).count("saved_tensors") == 1
