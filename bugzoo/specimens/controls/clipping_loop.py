"""A clip that binds at every step.

g <- g * clip / |g|                  |g|: over all parameters together, always above the clip
"""

from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, control
from bugzoo.loop import textbook


@control(
    looks="the gradient that is stepped along is never the derivative of the loss",
    right="it has its direction; the length is the author's choice",
    cases=[Context("binding", {"clip": 0.01, "lr": 1.0})],
    reference=textbook,
)
class AlwaysClipped(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.item()
