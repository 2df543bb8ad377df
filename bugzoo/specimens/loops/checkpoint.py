"""Activations recomputed in the backward instead of kept; two blocks with dropout, one recomputed.

    h = tanh(x W + b) * keep / (1 - p)   computed twice: without a graph, then with one

The second computation must be the first one again, mask included. Chen et al., 2016.
"""

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import dense, descend

CASES = [
    Context("first_block", {"where": 0, "p": 0.25}),
    Context("second_block", {"where": 1, "p": 0.25}),
    Context("no_dropout", {"where": 1, "p": 0.0}),
]


class Recomputed(Function):
    """run(x), whose graph is built only in the backward, for `x` and all parameters inside."""

    @staticmethod
    def forward(ctx, run, x):
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.run(x)
        y.backward(g)
        return None, x.grad


def reference(loop, x, y):
    for block in loop.model[:-1]:
        x = torch.tanh(block(x)) * loop.keep(x)
    return descend(F.cross_entropy(loop.model[-1](x), y), loop.optimizer)


@correct(cases=CASES, reference=reference)
class Checkpoint(Loop):
    def __init__(self, gen, *, where, p, **options):
        super().__init__(gen, **options)
        self.where, self.p = where, p

    def build(self, gen):
        return nn.Sequential(dense(gen, 64, 32), dense(gen, 32, 32), dense(gen, 32, 10))

    def keep(self, x):
        drawn = torch.rand(len(x), 32, generator=self.noise, dtype=x.dtype)
        return (drawn >= self.p).to(x.dtype) / (1 - self.p)

    def block(self, n):
        mask = None

        def run(x):
            nonlocal mask
            mask = self.keep(x) if mask is None else mask
            return torch.tanh(self.model[n](x)) * mask

        return run

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = x.clone().requires_grad_()
        for n in range(2):
            run = self.block(n)
            h = Recomputed.apply(run, h) if n == self.where else run(h)
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the recomputation draws a mask of its own, so the gradient is that of another function",
    family="rng-recompute",
    channel="trajectory",
    seen=(
        "https://github.com/allenai/OLMo-core/pull/828",
        "https://github.com/openai/guided-diffusion/issues/167",
        "https://github.com/ankanbhunia/PIDM/pull/66",
    ),
    shown_by=("first_block", "second_block"),
    hidden_by="no_dropout",
)
class FreshMask(Checkpoint):
    """Harmless for as long as no model uses dropout, in one project for years. Then the gradient
    flows through units that were dropped, and the loss ends a little higher than it should."""

    def block(self, n):
        def run(x):
            return torch.tanh(self.model[n](x)) * self.keep(x)

        return run


@bug(
    wrong="the input does not require a gradient, so the node is never built and the block is frozen",
    family="graph-cut",
    channel="trajectory",
    seen=(
        "https://github.com/huggingface/transformers/issues/21381",
        "https://github.com/cloneofsimo/lora/issues/26",
        "https://github.com/locuslab/open-unlearning/issues/178",
    ),
    shown_by="first_block",
    hidden_by=("second_block", "no_dropout"),
)
class InputWithoutGradient(Checkpoint):
    """A Function's output requires a gradient only if one of its inputs does, and the parameters
    are no inputs: they hide inside `run`. A block above a trained one is safe. Met wherever the
    first layers are frozen."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = x
        for n in range(2):
            run = self.block(n)
            h = Recomputed.apply(run, h) if n == self.where else run(h)
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
