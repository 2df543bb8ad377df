"""Data-parallel training, simulated: two replicas, each with half the rows, gradients averaged.

    g = (g_1 + g_2) / 2                  after the last micro-batch; then each replica clips and steps

Both replicas hold the same parameters at all times.
"""

import copy

from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend

CASES = [
    Context("one_micro", {"micro": (16,)}),
    Context("two_micros", {"micro": (8, 8)}),
    Context("clip", {"micro": (16,), "clip": 0.05}),
]


def reference(loop, x, y):
    for model, optimizer in zip(loop.models, loop.optimizers):
        loss = descend(F.cross_entropy(model(x), y), optimizer, loop.clip)
    return loss


@correct(cases=CASES, reference=reference)
class Replicas(Loop):
    def __init__(self, gen, **options):
        super().__init__(gen, **options)
        self.other = copy.deepcopy(self.model)
        self.other_optimizer = self.rule(self.other.parameters())

    @property
    def models(self):
        return [self.model, self.other]

    @property
    def optimizers(self):
        return [self.optimizer, self.other_optimizer]

    def average(self):
        for ours, theirs in zip(self.model.parameters(), self.other.parameters()):
            mean = (ours.grad + theirs.grad) / 2
            ours.grad.copy_(mean)
            theirs.grad.copy_(mean)

    def backward(self, x, y):
        total = 0.0
        for n, rows in enumerate(self.micro):
            for rank, model in enumerate(self.models):
                start = rank * sum(self.micro) + sum(self.micro[:n])
                part, target = x[start : start + rows], y[start : start + rows]
                loss = F.cross_entropy(model(part), target) * rows / sum(self.micro)
                loss.backward()
                total += loss.item() / 2
            if n + 1 == len(self.micro):
                self.average()
        return total

    def step(self, x, y):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.backward(x, y)
        for model, optimizer in zip(self.models, self.optimizers):
            clip_grad_norm_(model.parameters(), self.clip)
            optimizer.step()
        return loss


@bug(
    wrong="only the first replica clips, so the two drift apart",
    family="distributed",
    channel="trajectory",
    seen="https://github.com/deepspeedai/DeepSpeed/pull/1801",
    shown_by="clip",
    hidden_by=("one_micro", "two_micros"),
)
class OneReplicaClips(Replicas):
    """The logs are the first replica's, whose norm is right at every step. Found, for a few layers,
    in the training of a model of 176 billion parameters whose loss curve was beyond suspicion."""

    def step(self, x, y):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.backward(x, y)
        clip_grad_norm_(self.model.parameters(), self.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss


@bug(
    wrong="the gradients are averaged after the first micro-batch; those of the others stay local",
    family="distributed",
    channel="trajectory",
    seen=(
        "https://github.com/modelscope/FunASR/pull/3472",
        "https://github.com/deepspeedai/DeepSpeed/pull/7985",
    ),
    shown_by="two_micros",
    hidden_by=("one_micro", "clip"),
)
class AveragedTooEarly(Replicas):
    """An index off by one. With a single micro-batch the first is the last; with several, each
    replica steps along half a gradient of its own, and the replicas part for good."""

    def backward(self, x, y):
        total = 0.0
        for n, rows in enumerate(self.micro):
            for rank, model in enumerate(self.models):
                start = rank * sum(self.micro) + sum(self.micro[:n])
                part, target = x[start : start + rows], y[start : start + rows]
                loss = F.cross_entropy(model(part), target) * rows / sum(self.micro)
                loss.backward()
                total += loss.item() / 2
            if n % len(self.micro) == 0:
                self.average()
        return total
