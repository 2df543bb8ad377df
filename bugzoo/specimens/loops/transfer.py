"""Training on top of a frozen first layer: the middle layer and the head learn.

x -> 64-32 (frozen) -> tanh -> 32-16 -> tanh -> 16-10
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import mlp, textbook

CASES = [
    Context("sgd"),
    Context("adamw", {"optimizer": "adamw", "lr": 1e-2}),
]


@correct(cases=CASES, reference=textbook)
class Transfer(Loop):
    def build(self, gen):
        model = mlp(gen, 64, 32, 16, 10)
        for p in model[0].parameters():
            p.requires_grad_(False)
        return model

    def step(self, x, y):
        self.optimizer.zero_grad()
        with torch.no_grad():
            h = self.model[:2](x)
        loss = F.cross_entropy(self.model[2:](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the head is frozen along with the first layer; the middle alone learns to suit it",
    family="graph-cut",
    channel="trajectory",
    seen="https://discuss.pytorch.org/t/obtaining-abnormal-changes-in-loss-and-accuracy/84911",
    shown_by=("sgd", "adamw"),
)
class HeadFrozenToo(Transfer):
    """A rule by name or type that takes one layer too many. The loss falls more slowly, and every
    parameter that requires a gradient has one."""

    def build(self, gen):
        model = mlp(gen, 64, 32, 16, 10)
        for layer in (model[0], model[-1]):
            for p in layer.parameters():
                p.requires_grad_(False)
        return model


@bug(
    wrong="no_grad covers the middle layer too, which is meant to learn and gets no gradient",
    family="graph-cut",
    channel="trajectory",
    shown_by=("sgd", "adamw"),
)
class CutTooLate(Transfer):
    """The middle layer requires a gradient, is in the optimizer, and its .grad is None for ever. The
    head alone learns well enough for nobody to ask."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        with torch.no_grad():
            h = self.model[:4](x)
        loss = F.cross_entropy(self.model[4:](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
