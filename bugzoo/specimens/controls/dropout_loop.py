"""Dropout whose masks come from a generator.

h = tanh(x W + b) * keep / (1 - p)   keep: (n, 32) of 0 and 1, another one each step
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    h = loop.drop(torch.tanh(loop.model[0](x)))
    return descend(F.cross_entropy(loop.model[-1](h), y), loop.optimizer)


@control(
    looks="two forwards of the same batch give two losses and two gradients",
    right="that is what dropout does; with the same generator the run repeats to the bit",
    cases=[Context("half")],
    reference=reference,
)
class SeededDropout(Loop):
    def drop(self, h):
        drawn = torch.rand(h.shape, generator=self.noise, dtype=h.dtype)
        return h * (drawn >= 0.5) / 0.5

    def step(self, x, y):
        self.optimizer.zero_grad()
        h = self.drop(torch.tanh(self.model[0](x)))
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
