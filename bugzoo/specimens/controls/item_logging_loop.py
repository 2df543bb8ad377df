"""A log of floats and a weight that is set by the loss itself.

L = w l,  w = 1 / (1 + l)            l: cross-entropy; w is a number, no part of the graph
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    loss = F.cross_entropy(loop.model(x), y)
    return descend(loss / (1 + loss.detach()), loop.optimizer)


@control(
    looks=".item() takes the loss out of the graph, and a list keeps every loss",
    right="the number is meant as a number, the graph of the loss is untouched, the list holds floats",
    cases=[Context("sgd")],
    reference=reference,
)
class NumbersOfLosses(Loop):
    def __init__(self, gen, **options):
        super().__init__(gen, **options)
        self.losses = []

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        weight = 1 / (1 + loss.item())
        (weight * loss).backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        return loss.item()
