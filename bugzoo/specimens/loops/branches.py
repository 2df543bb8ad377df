"""Two branches on one stem that take turns of `period` steps; the idle one stays as it is.

p <- p - lr * update(dL/dp)          for parameters that the batch has used, and for no others
"""

import torch
from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import dense, descend

CASES = [
    Context("sgd", {"period": 2}),
    Context("momentum", {"period": 2, "rule": {"momentum": 0.9}, "lr": 0.02}),
    Context("adamw", {"period": 2, "optimizer": "adamw", "lr": 1e-2}),
    Context("one_branch", {"period": 1000, "optimizer": "adamw", "lr": 1e-2}),
]


def reference(loop, x, y):
    branch = loop.model[loop.turn()]
    return descend(F.cross_entropy(branch(torch.tanh(loop.model["stem"](x))), y), loop.optimizer)


@correct(cases=CASES, reference=reference)
class Branches(Loop):
    def __init__(self, gen, *, period, **options):
        super().__init__(gen, **options)
        self.period, self.count = period, 0

    def build(self, gen):
        parts = {"stem": (64, 32), "left": (32, 10), "right": (32, 10)}
        return nn.ModuleDict({name: dense(gen, *widths) for name, widths in parts.items()})

    def turn(self):
        self.count += 1
        return "right" if (self.count - 1) // self.period % 2 else "left"

    def step(self, x, y):
        branch = self.model[self.turn()]
        self.optimizer.zero_grad()
        loss = F.cross_entropy(branch(torch.tanh(self.model["stem"](x))), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the idle branch has a gradient of zeros instead of none, so old momentum moves it",
    family="accumulation-zeroing",
    channel="trajectory",
    shown_by=("momentum", "adamw"),
    hidden_by=("sgd", "one_branch"),
)
class ZerosForNone(Branches):
    """`set_to_none=False` was the default for years. To plain descent zero and none are the same; to
    momentum zero is a step along the past, and to AdamW one more decay."""

    def step(self, x, y):
        branch = self.model[self.turn()]
        self.optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(branch(torch.tanh(self.model["stem"](x))), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="what has no gradient after the first step is taken for unused and frozen for good",
    family="graph-cut",
    channel="trajectory",
    seen="https://github.com/pytorch/pytorch/issues/115607",
    shown_by=("sgd", "momentum", "adamw"),
    hidden_by="one_branch",
)
class FrozenAfterFirstStep(Branches):
    """The second branch never learns. Its turns look like a task that is harder than the other."""

    def step(self, x, y):
        branch = self.model[self.turn()]
        self.optimizer.zero_grad()
        loss = F.cross_entropy(branch(torch.tanh(self.model["stem"](x))), y)
        loss.backward()
        if self.count == 1:
            for p in self.model.parameters():
                p.requires_grad_(p.grad is not None)
        self.optimizer.step()
        return loss.item()
