"""Gradients are zeroed after the step, in place, and ready for the next one.

p <- p - lr * dL/dp
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import textbook


@control(
    looks="zero_grad comes after backward, and after the step every .grad is zero",
    right="it comes after the step too; before the first backward there is nothing to zero",
    cases=[Context("momentum", {"rule": {"momentum": 0.9}, "lr": 0.02})],
    reference=textbook,
)
class ZeroAtEnd(Loop):
    def step(self, x, y):
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        return loss.item()
