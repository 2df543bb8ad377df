"""Only the head is trained; the layers below are frozen and stay out of the graph.

W_head <- W_head - lr * dL/dW_head       the other parameters have no gradient at all
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import mlp, textbook


@control(
    looks="most parameters have .grad = None for ever and never move",
    right="they are frozen on purpose, requires_grad=False",
    cases=[Context("adamw", {"optimizer": "adamw", "lr": 1e-2})],
    reference=textbook,
)
class HeadOnly(Loop):
    def build(self, gen):
        model = mlp(gen, 64, 32, 32, 10)
        for p in model[:-1].parameters():
            p.requires_grad_(False)
        return model

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
