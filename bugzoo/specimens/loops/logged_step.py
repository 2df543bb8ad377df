"""The plain step with a log: every loss in a list, and the mean of each `every` steps.

mean <- sum of the last `every` losses / every          floats: a log needs no graph
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("long_epoch", {"every": 1000}),
    Context("each_step", {"every": 1}),
]


@correct(cases=CASES, reference=textbook)
class LoggedStep(Loop):
    def __init__(self, gen, *, every, **options):
        super().__init__(gen, **options)
        self.every, self.count, self.total, self.mean = every, 0, 0.0, 0.0
        self.losses = []

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.log(loss)
        return loss.item()

    def log(self, loss):
        self.count += 1
        self.total += loss.item()
        self.losses.append(loss.item())
        if self.count % self.every == 0:
            self.mean, self.total = self.total / self.every, 0.0


@bug(
    wrong="the list keeps the losses themselves, and with each loss the nodes of its graph",
    family="memory-retention",
    channel="memory",
    shown_by=("long_epoch", "each_step"),
)
class LossesKept(LoggedStep):
    """Training is right to the last bit. backward has freed the saved tensors, so only nodes stay:
    some kilobytes a step, an hour or a day before the process is killed."""

    def log(self, loss):
        self.count += 1
        self.total += loss.item()
        self.losses.append(loss)
        if self.count % self.every == 0:
            self.mean, self.total = self.total / self.every, 0.0


@bug(
    wrong="the running total is a tensor with a graph, so it holds the graph of every step so far",
    family="memory-retention",
    channel="memory",
    seen=(
        "https://github.com/BatsResearch/labelmodels/issues/4",
        "https://github.com/google/brax/pull/152",
    ),
    shown_by="long_epoch",
    hidden_by="each_step",
)
class TotalKeepsGraphs(LoggedStep):
    """The first item of PyTorch's own list of reasons to run out of memory. Whoever reports at each
    step never sees it: the total is dropped before it grows."""

    def log(self, loss):
        self.count += 1
        self.total += loss
        self.losses.append(loss.item())
        if self.count % self.every == 0:
            self.mean, self.total = self.total / self.every, 0.0
