"""A student follows a teacher, who is the running mean of the student.

    L = CE(student(x), y) + mean (student(x) - teacher(x))^2         teacher held fixed
    t <- 0.9 t + 0.1 p                                               after the step

Tarvainen & Valpola, 2017.
"""

import copy

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import descend


def reference(loop, x, y):
    logits = loop.model(x)
    aim = loop.teacher(x).detach()
    loss = descend(F.cross_entropy(logits, y) + (logits - aim).square().mean(), loop.optimizer)
    with torch.no_grad():
        for t, p in zip(loop.teacher.parameters(), loop.model.parameters()):
            t.copy_(0.9 * t + 0.1 * p)
    return loss


@control(
    looks="a whole model has no gradients, is in no optimizer, and yet its parameters move",
    right="the teacher is a mean, not a player; it is moved by hand and must get no gradient",
    cases=[Context("sgd", {"lr": 0.05})],
    reference=reference,
)
class MeanTeacher(Loop):
    def __init__(self, gen, **options):
        super().__init__(gen, **options)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False)

    @property
    def models(self):
        return [self.model, self.teacher]

    def step(self, x, y):
        self.optimizer.zero_grad()
        logits = self.model(x)
        loss = F.cross_entropy(logits, y) + F.mse_loss(logits, self.teacher(x))
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for t, p in zip(self.teacher.parameters(), self.model.parameters()):
                t.lerp_(p, 0.1)
        return loss.item()
