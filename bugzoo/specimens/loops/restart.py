"""Training whose head starts anew after `restart` steps, as for a new task.

head <- fresh weights, drawn         in place: the optimizer goes on with the same parameters
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import dense, textbook

CASES = [
    Context("restarted", {"restart": 8}),
    Context("adam", {"restart": 8, "optimizer": "adam", "lr": 1e-2}),
    Context("never_restarted", {"restart": 1000}),
]


def reference(loop, x, y):
    if loop.count == loop.restart:
        loop.model[-1].load_state_dict(dense(loop.noise, 32, 10).state_dict())
    loop.count += 1
    return textbook(loop, x, y)


@correct(cases=CASES, reference=reference)
class Restart(Loop):
    def __init__(self, gen, *, restart, **options):
        super().__init__(gen, **options)
        self.restart, self.count = restart, 0

    def step(self, x, y):
        if self.count == self.restart:
            self.model[-1].load_state_dict(dense(self.noise, 32, 10).state_dict())
        self.count += 1
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the head is replaced by a new layer, and the optimizer goes on moving the old one",
    family="hooks-clip-optimizer",
    channel="trajectory",
    shown_by=("restarted", "adam"),
    hidden_by="never_restarted",
)
class OldHeadOptimized(Restart):
    """The new head gets gradients that nobody steps along and nobody zeroes. The trunk adapts to a
    random head, so the loss still falls. The same befalls a model moved or wrapped after the
    optimizer was built."""

    def step(self, x, y):
        if self.count == self.restart:
            self.model[-1] = dense(self.noise, 32, 10)
        self.count += 1
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
