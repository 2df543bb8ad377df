"""Two tasks on one trunk: which digit, and is it odd.

    L = CE(digit(h), y) + weight * CE(parity(h), y mod 2)         h = tanh(trunk(x)): (n, 32)

Both terms reach the trunk.
"""

import torch
from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import dense, descend

CASES = [
    Context("two_tasks", {"weight": 0.5}),
    Context("adam", {"weight": 0.5, "optimizer": "adam", "lr": 1e-2}),
    Context("one_task", {"weight": 0.0}),
]


def reference(loop, x, y):
    h = torch.tanh(loop.model["trunk"](x))
    digit = F.cross_entropy(loop.model["digit"](h), y)
    parity = F.cross_entropy(loop.model["parity"](h), y % 2)
    return descend(digit + loop.weight * parity, loop.optimizer)


@correct(cases=CASES, reference=reference)
class TwoHeads(Loop):
    def __init__(self, gen, *, weight, **options):
        super().__init__(gen, **options)
        self.weight = weight

    def build(self, gen):
        parts = {"trunk": (64, 32), "digit": (32, 10), "parity": (32, 2)}
        return nn.ModuleDict({name: dense(gen, *widths) for name, widths in parts.items()})

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model["trunk"](x))
        loss = F.cross_entropy(self.model["digit"](h), y)
        parity = F.cross_entropy(self.model["parity"](h), y % 2)
        loss = loss + self.weight * parity
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the second head reads detached features, so its task never shapes the trunk",
    family="graph-cut",
    channel="trajectory",
    shown_by=("two_tasks", "adam"),
    hidden_by="one_task",
)
class DetachedHead(TwoHeads):
    """Every parameter gets a gradient and both losses fall. The trunk's gradient is merely that of
    one task; the detach is left over from a time when the second head was only a probe."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model["trunk"](x))
        loss = F.cross_entropy(self.model["digit"](h), y)
        parity = F.cross_entropy(self.model["parity"](h.detach()), y % 2)
        loss = loss + self.weight * parity
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the sum of the two terms is reported but backward runs on the first one alone",
    family="graph-cut",
    channel="trajectory",
    seen="https://github.com/NVIDIA-NeMo/Automodel/issues/1408",
    shown_by=("two_tasks", "adam"),
    hidden_by="one_task",
)
class SumDiscarded(TwoHeads):
    """The log shows the second term as if it worked. It starts where chance is and stays there."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = torch.tanh(self.model["trunk"](x))
        loss = F.cross_entropy(self.model["digit"](h), y)
        parity = F.cross_entropy(self.model["parity"](h), y % 2)
        total = loss + self.weight * parity
        loss.backward()
        self.optimizer.step()
        return total.item()
