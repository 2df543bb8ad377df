"""The last outputs are kept with their graph, for whoever wants to look, until the next ones come.

p <- p - lr * dL/dp
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import textbook


@control(
    looks="tensors with a graph outlive the step that made them, retained on purpose",
    right="only the last graph is alive at any time: what is held does not grow",
    cases=[Context("sgd")],
    reference=textbook,
)
class LastGraphKept(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        self.logits = self.model(x)
        self.loss = F.cross_entropy(self.logits, y)
        self.loss.backward(retain_graph=True)
        self.optimizer.step()
        return self.loss.item()
