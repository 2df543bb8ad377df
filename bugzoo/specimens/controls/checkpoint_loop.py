"""torch's own checkpoint around a block with dropout, the mask drawn outside.

h = tanh(x W + b) * keep             computed twice, with one mask
"""

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    h = torch.tanh(loop.model[0](x)) * loop.keep(x)
    return descend(F.cross_entropy(loop.model[-1](h), y), loop.optimizer)


@control(
    looks="a random layer is computed a second time in the backward, from an input without gradient",
    right="the mask is an argument, so it is the same; this checkpoint finds parameters by itself",
    cases=[Context("sgd")],
    reference=reference,
)
class MaskHandedIn(Loop):
    def keep(self, x):
        drawn = torch.rand(len(x), 32, generator=self.noise, dtype=x.dtype)
        return (drawn >= 0.25).to(x.dtype)

    def block(self, x, keep):
        return torch.tanh(self.model[0](x)) * keep

    def step(self, x, y):
        self.optimizer.zero_grad()
        keep = self.keep(x)
        h = checkpoint(self.block, x, keep, use_reentrant=False, preserve_rng_state=False)
        loss = F.cross_entropy(self.model[-1](h), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
