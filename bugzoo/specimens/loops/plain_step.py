"""The plain supervised step: zero, forward, backward, update.

p <- p - lr * dL/dp          L: mean cross-entropy of the batch, p: every parameter
"""

import torch
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
    seen=(
        "https://github.com/tenstorrent/tt-blacksmith/pull/711",
        "https://github.com/wenet-e2e/wekws/pull/73",
    ),
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


@bug(
    wrong="the gradients are zeroed between backward and step, so there is nothing to step along",
    family="accumulation-zeroing",
    channel="trajectory",
    shown_by=("sgd", "momentum", "adam", "one_step"),
)
class ZeroedBeforeStep(PlainStep):
    """Every call is there, none raises, and the loss wanders with the batches. Who prints the
    gradients right after backward finds them healthy."""

    def step(self, x, y):
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.zero_grad()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="step comes before backward, when zero_grad has just taken the gradients away",
    family="hooks-clip-optimizer",
    channel="trajectory",
    shown_by=("sgd", "momentum", "adam", "one_step"),
)
class StepsBeforeBackward(PlainStep):
    """With nothing to step along nothing is written, so autograd has nothing to report; after each
    step the gradients are there, large and healthy. Zeroed elsewhere, the same order raises."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        self.optimizer.step()
        loss.backward()
        return loss.item()


@bug(
    wrong="the loss is rebuilt from its number as a new leaf, so no gradient reaches the model",
    family="graph-cut",
    channel="trajectory",
    seen="https://github.com/paiml/aprender/issues/3034",
    shown_by=("sgd", "momentum", "adam", "one_step"),
)
class LossFromNumber(PlainStep):
    """`requires_grad=True` was added to silence "element 0 of tensors does not require grad", and
    backward has been content ever since: it fills the gradient of a leaf that nobody holds."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()
