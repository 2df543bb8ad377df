"""One-step actor-critic: the action is a guess at the digit, the reward is 1 when it is right.

    a ~ pi(x),  A = r - V(x)             x: (n, 64), a, r, V: (n,)
    L = -mean(A log pi(a | x)) + mean (r - V)^2

A is a number to the actor: its gradient is not the critic's business. Sutton & Barto, 13.5.
"""

import torch
from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend, mlp

CASES = [
    Context("sgd", {"lr": 0.02}),
    Context("adam", {"optimizer": "adam", "lr": 1e-2}),
]


def reference(loop, x, y):
    logits, value = loop.model["actor"](x), loop.model["critic"](x).squeeze(-1)
    action = torch.multinomial(logits.softmax(-1), 1, generator=loop.noise).squeeze(-1)
    reward = (action == y).to(x.dtype)
    chosen = logits.log_softmax(-1)[torch.arange(len(x)), action]
    gain = ((reward - value.detach()) * chosen).mean()
    return descend((reward - value).square().mean() - gain, loop.optimizer)


@correct(cases=CASES, reference=reference)
class ActorCritic(Loop):
    def build(self, gen):
        return nn.ModuleDict({"actor": mlp(gen, 64, 32, 10), "critic": mlp(gen, 64, 32, 1)})

    def step(self, x, y):
        self.optimizer.zero_grad()
        logits, value = self.model["actor"](x), self.model["critic"](x).squeeze(-1)
        action = torch.multinomial(logits.softmax(-1), 1, generator=self.noise).squeeze(-1)
        reward = (action == y).to(x.dtype)
        advantage = reward - value.detach()
        surprise = F.cross_entropy(logits, action, reduction="none")
        loss = (advantage * surprise).mean() + F.mse_loss(value, reward)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the advantage is not detached, so the actor's loss moves the critic as well",
    family="graph-cut",
    channel="trajectory",
    seen="https://github.com/astariul/encode-attend-navigate-pytorch/pull/3",
    shown_by=("sgd", "adam"),
)
class AdvantageNotDetached(ActorCritic):
    """The critic learns that a high value lowers the loss wherever an action was surprising, and in
    time promises more than any reward. The actor's gradient is right and the reward still rises."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        logits, value = self.model["actor"](x), self.model["critic"](x).squeeze(-1)
        action = torch.multinomial(logits.softmax(-1), 1, generator=self.noise).squeeze(-1)
        reward = (action == y).to(x.dtype)
        advantage = reward - value
        surprise = F.cross_entropy(logits, action, reduction="none")
        loss = (advantage * surprise).mean() + F.mse_loss(value, reward)
        loss.backward()
        self.optimizer.step()
        return loss.item()
