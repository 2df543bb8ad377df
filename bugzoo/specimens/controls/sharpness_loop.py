"""Sharpness-aware minimisation: the gradient is taken at a worse point near by.

    p' = p + rho * g / |g|,  g = dL/dp       rho = 0.05
    p <- p - lr * dL/dp at p'

Foret et al., 2021.
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    named = dict(loop.model.named_parameters())
    loss = F.cross_entropy(loop.model(x), y)
    g = torch.autograd.grad(loss, list(named.values()))
    norm = torch.cat([d.flatten() for d in g]).norm()
    moved = {name: p + 0.05 * d / norm for (name, p), d in zip(named.items(), g)}
    worse = F.cross_entropy(torch.func.functional_call(loop.model, moved, x), y)
    return descend(worse, loop.optimizer)


@control(
    looks="two backwards in a step, parameters written in between, the gradient of another point",
    right="the parameters are put back before the step; that other point is the method",
    cases=[Context("sgd")],
    reference=reference,
)
class SharpnessAware(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        before = [p.detach().clone() for p in self.model.parameters()]
        with torch.no_grad():
            norm = torch.cat([p.grad.flatten() for p in self.model.parameters()]).norm()
            for p in self.model.parameters():
                p += 0.05 * p.grad / norm
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        with torch.no_grad():
            for p, old in zip(self.model.parameters(), before):
                p.copy_(old)
        self.optimizer.step()
        return loss.item()
