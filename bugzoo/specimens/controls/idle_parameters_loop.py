"""A model with a layer that this training does not use.

p <- p - lr * dL/dp                  for the parameters in the graph; the idle ones stay as they are
"""

from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend, mlp


def reference(loop, x, y):
    return descend(F.cross_entropy(loop.model["digit"](x), y), loop.optimizer)


@control(
    looks="parameters that require a gradient and sit in the optimizer never get one",
    right="their layer is not part of this loss; it belongs to a task that is trained elsewhere",
    cases=[Context("adamw", {"optimizer": "adamw", "lr": 1e-2})],
    reference=reference,
)
class IdleHead(Loop):
    def build(self, gen):
        return nn.ModuleDict({"digit": mlp(gen, 64, 32, 10), "parity": mlp(gen, 64, 8, 2)})

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model["digit"](x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
