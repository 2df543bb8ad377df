"""Accumulation with decoupled weight decay, applied once an update.

p <- (1 - lr * decay) p - lr g       g: mean gradient over all micro-batches
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("four_micros", {"micro": (8, 8, 8, 8), "decay": 0.1}),
    Context("one_micro", {"decay": 0.1}),
    Context("no_decay", {"micro": (8, 8, 8, 8), "decay": 0.0}),
]


def reference(loop, x, y):
    before = [p.detach().clone() for p in loop.model.parameters()]
    loss = textbook(loop, x, y)
    with torch.no_grad():
        for p, old in zip(loop.model.parameters(), before):
            p -= loop.lr * loop.decay * old
    return loss


@correct(cases=CASES, reference=reference)
class DecayedAccumulation(Loop):
    def __init__(self, gen, *, decay, **options):
        super().__init__(gen, **options)
        self.decay = decay

    def shrink(self):
        with torch.no_grad():
            for p in self.model.parameters():
                p *= 1 - self.lr * self.decay

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            loss.backward()
            total += loss.item()
        self.shrink()
        self.optimizer.step()
        return total


@bug(
    wrong="the weights decay at every micro-batch, so the decay is k times what was asked for",
    family="hooks-clip-optimizer",
    channel="trajectory",
    seen="https://github.com/keras-team/keras/pull/19998",
    shown_by="four_micros",
    hidden_by=("one_micro", "no_decay"),
)
class DecaysEachMicro(DecayedAccumulation):
    """Each micro-batch sees slightly other weights, too. The gradients are healthy, the weights
    only smaller than they should be, and more so with more micro-batches."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            loss.backward()
            self.shrink()
            total += loss.item()
        self.optimizer.step()
        return total
