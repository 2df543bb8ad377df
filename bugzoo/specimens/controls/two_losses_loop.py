"""Two losses on one forward, each with a backward of its own.

g = grad L_1 + grad L_2              the first backward keeps the graph for the second
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    logits = loop.model(x)
    return descend(F.cross_entropy(logits, y) + 1e-2 * logits.square().mean(), loop.optimizer)


@control(
    looks="backward is called twice in a step, and retain_graph=True keeps a graph",
    right="two losses, one gradient: .grad sums them, and the graph dies with the step",
    cases=[Context("sgd")],
    reference=reference,
)
class TwoBackwards(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        logits = self.model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward(retain_graph=True)
        (1e-2 * logits.square().mean()).backward()
        self.optimizer.step()
        return loss.item()
