"""Accumulation over micro-batches of unequal length, by sums.

g = sum_i grad sum_i / n             sum_i: summed loss of micro-batch i, n: rows of all of them
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import textbook


@control(
    looks="the losses of the micro-batches are not divided by their number",
    right="each is a sum divided by the rows of the whole batch, so together they are its mean",
    cases=[Context("unequal", {"micro": (20, 8, 3, 1)})],
    reference=textbook,
)
class BySums(Loop):
    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target, reduction="sum") / len(x)
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        return total
