"""Gradient accumulation: one step over micro-batches of lengths n_1 ... n_k.

    g = sum_i (n_i / n) * grad mean_i          n = n_1 + ... + n_k; mean_i: mean loss of micro-batch i

Equal to the gradient of the mean over the whole batch, whatever the lengths.
"""

import torch
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("equal", {"micro": (8, 8, 8, 8)}),
    Context("unequal", {"micro": (20, 8, 3, 1)}),
    Context("one_micro"),
    Context("binding_clip", {"micro": (8, 8, 8, 8), "clip": 0.05}),
]


@correct(cases=CASES, reference=textbook)
class Accumulation(Loop):
    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            loss.backward()
            total += loss.item()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@bug(
    wrong="the losses of the micro-batches are not divided by their number: k times the gradient",
    family="scaling",
    channel="trajectory",
    seen=(
        "https://github.com/karpathy/nanoGPT/issues/206",
        "https://github.com/deepinsight/insightface/issues/2258",
        "https://github.com/huggingface/transformers/issues/37766",
    ),
    shown_by=("equal", "unequal"),
    hidden_by=("one_micro", "binding_clip"),
)
class NotDivided(Accumulation):
    """A factor on the whole gradient: a binding clip takes it out again, and Adam all but does.
    What is left is a clip value that means something else with each number of micro-batches."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target)
            loss.backward()
            total += loss.item() / len(self.micro)
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@bug(
    wrong="the mean of the micro-batches' means: rows of a short micro-batch weigh more",
    family="scaling",
    channel="trajectory",
    seen="https://github.com/huggingface/transformers/pull/34191",
    shown_by="unequal",
    hidden_by=("equal", "one_micro", "binding_clip"),
)
class MeanOfMeans(Accumulation):
    """Exact when all lengths are equal, as in every unit test. With sequences of unequal length it
    was the default of a widely used trainer for years."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) / len(self.micro)
            loss.backward()
            total += loss.item()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@bug(
    wrong="the gradients are zeroed at each micro-batch, so only the last one reaches the step",
    family="accumulation-zeroing",
    channel="trajectory",
    seen="https://github.com/allenai/open-instruct/pull/1498",
    shown_by=("equal", "unequal", "binding_clip"),
    hidden_by="one_micro",
)
class ZeroedEachMicro(Accumulation):
    """Three of four micro-batches are computed for nothing. The run looks like one with a smaller
    batch and a smaller learning rate, and that is what it is."""

    def step(self, x, y):
        total = 0.0
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            loss.backward()
            total += loss.item()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total


@bug(
    wrong="step stands inside the loop, so partial sums are stepped along again and again",
    family="accumulation-zeroing",
    channel="trajectory",
    shown_by=("equal", "unequal", "binding_clip"),
    hidden_by="one_micro",
)
class StepsEachMicro(Accumulation):
    """One level of indentation. The first micro-batch is used four times, the last one once, and
    the loss falls faster than it should."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            loss.backward()
            total += loss.item()
            clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()
        return total


@bug(
    wrong="the sum is clipped after each micro-batch, so the first ones are clipped again and again",
    family="hooks-clip-optimizer",
    channel="trajectory",
    seen=(
        "https://github.com/huggingface/transformers/issues/986",
        "https://github.com/huggingface/transformers/issues/1563",
        "https://github.com/facebookresearch/lingua/pull/59",
    ),
    shown_by="binding_clip",
    hidden_by=("equal", "unequal", "one_micro"),
)
class ClippedEachMicro(Accumulation):
    """The norm that reaches the step is the same; the direction leans towards the last
    micro-batch. Nothing differs until the clip binds."""

    def step(self, x, y):
        total = 0.0
        self.optimizer.zero_grad()
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            loss.backward()
            clip_grad_norm_(self.model.parameters(), self.clip)
            total += loss.item()
        self.optimizer.step()
        return total


@bug(
    wrong="the sum is kept in bfloat16, which has 8 bits: small addends are rounded away",
    family="dtype-precision",
    channel="trajectory",
    seen=(
        "https://github.com/deepspeedai/DeepSpeed/issues/1800",
        "https://github.com/ISEEKYAN/Megatron-LM/issues/149",
    ),
    shown_by=("equal", "unequal", "one_micro", "binding_clip"),
)
class SummedInBfloat16(Accumulation):
    """An addend below 1/256 of the running sum leaves it as it was. The error grows with the number
    of micro-batches, which is large where memory is scarce."""

    def step(self, x, y):
        total = 0.0
        sums = [torch.zeros_like(p, dtype=torch.bfloat16) for p in self.model.parameters()]
        for part, target in zip(x.split(self.micro), y.split(self.micro)):
            loss = F.cross_entropy(self.model(part), target) * len(part) / len(x)
            for s, g in zip(sums, torch.autograd.grad(loss, list(self.model.parameters()))):
                s += g
            total += loss.item()
        for p, s in zip(self.model.parameters(), sums):
            p.grad = s.to(p.dtype)
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return total
