"""A short epoch: four micro-batches of 4 rows, an update after each window of `window` of them.

    g = mean gradient over the rows of one window

The epoch's last window may be shorter; it is stepped along too, divided by its own rows.
"""

from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

SHORT = {"batch": 16, "micro": (4, 4, 4, 4)}
CASES = [
    Context("even", SHORT | {"window": 2}),
    Context("uneven", SHORT | {"window": 3}),
    Context("each", SHORT | {"window": 1}),
]


def reference(loop, x, y):
    rows = 4 * loop.window
    for part, target in zip(x.split(rows), y.split(rows)):
        loss = textbook(loop, part, target)
    return loss


@correct(cases=CASES, reference=reference)
class Windows(Loop):
    def __init__(self, gen, *, window, **options):
        super().__init__(gen, **options)
        self.window = window

    def step(self, x, y):
        self.optimizer.zero_grad()
        for n, (part, target) in enumerate(zip(x.split(self.micro), y.split(self.micro))):
            first = n - n % self.window
            rows = sum(self.micro[first : first + self.window])
            loss = F.cross_entropy(self.model(part), target)
            (loss * len(part) / rows).backward()
            if (n + 1) % self.window == 0 or n + 1 == len(self.micro):
                self.optimizer.step()
                self.optimizer.zero_grad()
        return loss.item()


@bug(
    wrong="the epoch's last, shorter window is never stepped along, its gradients are thrown away",
    family="accumulation-zeroing",
    channel="trajectory",
    seen="https://github.com/tomhosking/torchseq/issues/8",
    shown_by="uneven",
    hidden_by=("even", "each"),
)
class TailLost(Windows):
    """Up to window - 1 micro-batches an epoch teach nothing. In a long epoch nobody misses them."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        for n, (part, target) in enumerate(zip(x.split(self.micro), y.split(self.micro))):
            first = n - n % self.window
            rows = sum(self.micro[first : first + self.window])
            loss = F.cross_entropy(self.model(part), target)
            (loss * len(part) / rows).backward()
            if (n + 1) % self.window == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return loss.item()


@bug(
    wrong="what the epoch's last window has gathered is added to the first window of the next epoch",
    family="accumulation-zeroing",
    channel="trajectory",
    seen="https://github.com/huggingface/transformers/pull/22098",
    shown_by="uneven",
    hidden_by=("even", "each"),
)
class TailLeaks(Windows):
    """The window across the epoch's end has more micro-batches than its divisor says. The first
    epoch is right but for its end, and so is a test of one epoch."""

    def step(self, x, y):
        for n, (part, target) in enumerate(zip(x.split(self.micro), y.split(self.micro))):
            first = n - n % self.window
            rows = sum(self.micro[first : first + self.window])
            loss = F.cross_entropy(self.model(part), target)
            (loss * len(part) / rows).backward()
            if (n + 1) % self.window == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return loss.item()


@bug(
    wrong="n % window where (n + 1) % window belongs: the first micro-batch makes a window alone",
    family="accumulation-zeroing",
    channel="trajectory",
    seen="https://github.com/rasbt/LLMs-from-scratch/pull/300",
    shown_by=("even", "uneven"),
    hidden_by="each",
)
class FirstMicroAlone(Windows):
    """The number of updates is right, each is of the right size but the first, and all windows are
    shifted by one. Zeroing at the start of the epoch then drops the rest."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        for n, (part, target) in enumerate(zip(x.split(self.micro), y.split(self.micro))):
            first = n - n % self.window
            rows = sum(self.micro[first : first + self.window])
            loss = F.cross_entropy(self.model(part), target)
            (loss * len(part) / rows).backward()
            if n % self.window == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return loss.item()


@bug(
    wrong="the condition is reversed: an update after each micro-batch but the last of a window",
    family="accumulation-zeroing",
    channel="trajectory",
    seen="https://github.com/eriklindernoren/PyTorch-YOLOv3/pull/313",
    shown_by=("even", "uneven", "each"),
)
class ReversedCondition(Windows):
    """`if (n + 1) % window:` reads like "every window-th", and is true for all the others. With a
    window of one it is never true, and nothing trains."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        for n, (part, target) in enumerate(zip(x.split(self.micro), y.split(self.micro))):
            first = n - n % self.window
            rows = sum(self.micro[first : first + self.window])
            loss = F.cross_entropy(self.model(part), target)
            (loss * len(part) / rows).backward()
            if (n + 1) % self.window:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return loss.item()
