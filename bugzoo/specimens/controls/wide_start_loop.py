"""A network that starts far too wide: initial weights five times as large as He's.

W ~ 5 * N(0, 2 / n_in)               tanh saturates, the first loss is several times log 10
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import mlp, textbook


@control(
    looks="seven units of ten are saturated, and the loss starts far above that of guessing",
    right="every gradient is the derivative; a poor start is a poor choice, not a wrong backward",
    cases=[Context("sgd", {"lr": 0.02})],
    reference=textbook,
)
class WideStart(Loop):
    def build(self, gen):
        model = mlp(gen, 64, 32, 10)
        with torch.no_grad():
            for p in model.parameters():
                p *= 5
        return model

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
