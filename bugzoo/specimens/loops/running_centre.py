"""Features are drawn towards their running mean.

    L = cross-entropy + weight * mean (h - c)^2       h: (n, 32) features, c: (32,) running mean
    c <- 0.9 c + 0.1 mean(h)                          a number that training must not pull at

The graph of a step ends with the step.
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend

CASES = [
    Context("weighted", {"weight": 1.0}),
    Context("weightless", {"weight": 0.0}),
    Context("one_step", {"weight": 1.0}, steps=1),
]


def reference(loop, x, y):
    h = torch.tanh(loop.model[0](x))
    loss = F.cross_entropy(loop.model[-1](h), y) + loop.weight * (h - loop.centre).square().mean()
    loop.centre = 0.9 * loop.centre + 0.1 * h.detach().mean(0)
    return descend(loss, loop.optimizer)


@correct(cases=CASES, reference=reference)
class RunningCentre(Loop):
    def __init__(self, gen, *, weight, **options):
        super().__init__(gen, **options)
        self.weight, self.centre = weight, torch.zeros(32, dtype=torch.float64)

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model[0](x))
        apart = (h - self.centre).square().mean()
        self.centre = 0.9 * self.centre + 0.1 * h.detach().mean(0)
        loss = F.cross_entropy(self.model[-1](h), y) + self.weight * apart
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the running mean keeps its graph, and retain_graph=True keeps the graphs of all steps",
    family="memory-retention",
    channel="memory",
    shown_by=("weighted", "weightless"),
    hidden_by="one_step",
)
class GraphOfAllSteps(RunningCentre):
    """torch said "specify retain_graph=True", so it was specified. Each step is slower than the one
    before, and old batches go on pulling at the first layer; weightless, they only fill memory."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model[0](x))
        apart = (h - self.centre).square().mean()
        self.centre = 0.9 * self.centre + 0.1 * h.mean(0)
        loss = F.cross_entropy(self.model[-1](h), y) + self.weight * apart
        loss.backward(retain_graph=True)
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the running mean keeps its graph, which the step before has freed",
    family="graph-cut",
    channel="contract",
    shown_by=("weighted", "weightless"),
    hidden_by="one_step",
)
class GraphFreed(RunningCentre):
    """The loud beginning of the story above: "Trying to backward through the graph a second time",
    at the second step."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model[0](x))
        apart = (h - self.centre).square().mean()
        self.centre = 0.9 * self.centre + 0.1 * h.mean(0)
        loss = F.cross_entropy(self.model[-1](h), y) + self.weight * apart
        loss.backward()
        self.optimizer.step()
        return loss.item()
