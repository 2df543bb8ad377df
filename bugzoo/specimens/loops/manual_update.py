"""Descent with momentum, the update written by hand.

v <- m v + g,  p <- p - lr v         v: one buffer for each parameter, the first g to begin with
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("momentum", {"momentum": 0.9, "lr": 0.02}),
    Context("no_momentum", {"momentum": 0.0}),
    Context("one_step", {"momentum": 0.9}, steps=1),
]


@correct(cases=CASES, reference=textbook)
class ManualUpdate(Loop):
    def __init__(self, gen, *, momentum, **options):
        super().__init__(gen, rule={"momentum": momentum}, **options)
        self.momentum, self.velocity = momentum, {}

    @property
    def optimizers(self):
        return []

    def step(self, x, y):
        self.model.zero_grad(set_to_none=False)
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if name in self.velocity:
                    self.velocity[name].mul_(self.momentum).add_(p.grad)
                else:
                    self.velocity[name] = p.grad.clone()
                p -= self.lr * self.velocity[name]
        return loss.item()


@bug(
    wrong="p = p - lr v gives a new tensor to the name p and leaves the parameter as it is",
    family="hooks-clip-optimizer",
    channel="trajectory",
    shown_by=("momentum", "no_momentum", "one_step"),
)
class NameRebound(ManualUpdate):
    """`p -= ...` and `p = p - ...` are the same in mathematics. The gradients are right, large and
    healthy, and nothing moves."""

    def step(self, x, y):
        self.model.zero_grad(set_to_none=False)
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if name in self.velocity:
                    self.velocity[name].mul_(self.momentum).add_(p.grad)
                else:
                    self.velocity[name] = p.grad.clone()
                p = p - self.lr * self.velocity[name]
        return loss.item()


@bug(
    wrong="the buffer is the first gradient itself, not a copy, and is zeroed and refilled with it",
    family="saved-tensor-mutation",
    channel="trajectory",
    shown_by=("momentum", "no_momentum"),
    hidden_by="one_step",
)
class BufferIsGradient(ManualUpdate):
    """Gradient and velocity are one tensor, so v <- m g + m g. Training goes on with a rate of
    2 m lr and no momentum at all; without momentum it stops after the first step."""

    def step(self, x, y):
        self.model.zero_grad(set_to_none=False)
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                if name in self.velocity:
                    self.velocity[name].mul_(self.momentum).add_(p.grad)
                else:
                    self.velocity[name] = p.grad
                p -= self.lr * self.velocity[name]
        return loss.item()
