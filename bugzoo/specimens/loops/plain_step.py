"""The plain supervised step: zero, forward, backward, update.

p <- p - lr * dL/dp          L: mean cross-entropy of the batch, p: every parameter
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("sgd"),
    Context("momentum", {"rule": {"momentum": 0.9}, "lr": 0.02}),
    Context("adam", {"optimizer": "adam", "lr": 1e-2}),
    Context("one_step", steps=1),
]


@correct(cases=CASES, reference=textbook)
class PlainStep(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="zero_grad is never called, so every step uses the sum of all gradients so far",
    family="accumulation-zeroing",
    channel="trajectory",
    shown_by=("sgd", "momentum", "adam"),
    hidden_by="one_step",
)
class NeverZeroed(PlainStep):
    """The first step is right. The loss often still falls, as momentum would make it."""

    def step(self, x, y):
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
