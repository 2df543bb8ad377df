"""Static loss scaling over micro-batches: scale the loss, unscale the sum of gradients, clip, step.

    g = grad(scale * L) / scale          exactly the gradient of L while nothing overflows

With a power of two not one bit differs. Micikevicius et al., 2018.
"""

from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

HALVES = {"micro": (16, 16)}
CASES = [
    Context("scaled", HALVES | {"scale": 1024.0}),
    Context("scaled_clip", HALVES | {"scale": 1024.0, "clip": 0.1}),
    Context("scale_one", HALVES | {"clip": 0.1}),
    Context(
        "adam",
        HALVES | {"scale": 1024.0, "optimizer": "adam", "lr": 1e-3, "rule": {"eps": 1e-15}},
    ),
]


@correct(cases=CASES, reference=textbook)
class LossScale(Loop):
    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            (loss * self.scale).backward()
            total += loss.item()
        for p in self.model.parameters():
            p.grad /= self.scale
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@bug(
    wrong="the scaled gradient is clipped and then unscaled, so the clip is `scale` times too tight",
    family="hooks-clip-optimizer",
    channel="trajectory",
    seen=(
        "https://github.com/Lightning-AI/pytorch-lightning/issues/9330",
        "https://github.com/catalyst-team/catalyst/issues/1319",
    ),
    shown_by="scaled_clip",
    hidden_by=("scaled", "scale_one", "adam"),
)
class ClippedBeforeUnscaled(LossScale):
    """Training slows to a crawl once a clip is set, and the clip value is blamed."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            (loss * self.scale).backward()
            total += loss.item()
        clip_grad_norm_(self.model.parameters(), self.clip)
        for p in self.model.parameters():
            p.grad /= self.scale
        self.optimizer.step()
        return total


@bug(
    wrong="the gradient is never divided by the scale again",
    family="scaling",
    channel="trajectory",
    shown_by="scaled",
    hidden_by=("scaled_clip", "scale_one", "adam"),
)
class NeverUnscaled(LossScale):
    """Adam divides by the gradient's own size and a binding clip by its norm, so both train on as
    if nothing were wrong; plain descent is gone at the first step."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            (loss * self.scale).backward()
            total += loss.item()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@bug(
    wrong="the sum is unscaled after each micro-batch, so the first ones are divided again and again",
    family="scaling",
    channel="trajectory",
    shown_by=("scaled", "scaled_clip", "adam"),
    hidden_by="scale_one",
)
class UnscaledEachMicro(LossScale):
    """Only the last micro-batch arrives whole, of the others a thousandth. The run looks like one
    with a noisier gradient."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            (loss * self.scale).backward()
            for p in self.model.parameters():
                p.grad /= self.scale
            total += loss.item()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total
