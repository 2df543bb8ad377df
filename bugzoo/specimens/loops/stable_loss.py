"""Cross-entropy written by hand over logits z / temperature.

    L = mean(log sum_j exp(z_j - m) - (z_y - m))       z: (n, 10), m: (n, 1), the largest of a row

Subtracting m changes no value and keeps exp from overflowing.
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend

CASES = [
    Context("warm", {"temperature": 1.0}),
    # short: this run is chaotic, rounding grows ten times every other step
    Context("cold", {"temperature": 0.02, "lr": 0.04}, steps=16),
]


def reference(loop, x, y):
    return descend(F.cross_entropy(loop.model(x) / loop.temperature, y), loop.optimizer)


@correct(cases=CASES, reference=reference)
class StableLoss(Loop):
    def __init__(self, gen, *, temperature, **options):
        super().__init__(gen, **options)
        self.temperature = temperature

    def loss(self, z, y):
        z = z - z.amax(-1, keepdim=True)
        return (z.exp().sum(-1).log() - z[torch.arange(len(z)), y]).mean()

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x) / self.temperature, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the largest logit is not subtracted, so exp overflows once logits pass 709",
    family="masking-boundary",
    channel="trajectory",
    shown_by="cold",
    hidden_by="warm",
)
class NotShifted(StableLoss):
    """Right to the last digit until a logit grows, then infinite, and NaN in all weights one step
    later. The step at which it happens is blamed on the batch."""

    def loss(self, z, y):
        return (z.exp().sum(-1).log() - z[torch.arange(len(z)), y]).mean()


@bug(
    wrong="the probability is clamped away from zero, which takes the gradient from the worst rows",
    family="masking-boundary",
    channel="trajectory",
    shown_by="cold",
    hidden_by="warm",
)
class Clamped(StableLoss):
    """The cure for the disease above. A row that is confidently wrong lies below the clamp, where
    the slope is zero: the rows that most need a gradient get none."""

    def loss(self, z, y):
        return -z.softmax(-1)[torch.arange(len(z)), y].clamp(min=1e-12).log().mean()
