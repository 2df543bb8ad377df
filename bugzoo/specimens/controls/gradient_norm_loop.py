"""A penalty on the gradient of the loss with respect to the parameters: flat minima are preferred.

L = l + 0.1 * |dl/dp|^2              differentiated once more, through create_graph=True
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    loss = F.cross_entropy(loop.model(x), y)
    grads = torch.autograd.grad(loss, list(loop.model.parameters()), create_graph=True)
    return descend(loss + 0.1 * sum(g.square().sum() for g in grads), loop.optimizer)


@control(
    looks="a gradient is taken inside the step, its graph is kept, and .grad differs from it",
    right="the penalty needs the graph, which goes when the step ends; .grad is that of the sum",
    cases=[Context("sgd")],
    reference=reference,
)
class GradientNorm(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        grads = torch.autograd.grad(loss, list(self.model.parameters()), create_graph=True)
        penalty = sum(g.square().sum() for g in grads)
        (loss + 0.1 * penalty).backward()
        self.optimizer.step()
        return loss.item()
