"""Two players: a generator draws digits, a critic tells them from real ones.

    critic:     min  mean softplus(-c(x)) + mean softplus(c(G(z)))        G held fixed
    generator:  min  mean softplus(-c(G(z)))                              c held fixed

x: (n, 64) real, z: (n, 8) noise. Each player's step uses that player's loss alone.
Goodfellow et al., 2014.
"""

import torch
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import descend, mlp

CASES = [
    Context("sgd"),
    Context("adam", {"optimizer": "adam", "lr": 1e-2}),
    Context("one_step", steps=1),
]


def reference(loop, x, y):
    fake = loop.model(loop.draw(x))
    apart = F.softplus(-loop.critic(x)).mean() + F.softplus(loop.critic(fake.detach())).mean()
    descend(apart, loop.critic_optimizer)
    return descend(F.softplus(-loop.critic(fake)).mean(), loop.optimizer)


@correct(cases=CASES, reference=reference)
class Adversarial(Loop):
    def __init__(self, gen, **options):
        super().__init__(gen, **options)
        self.critic = mlp(gen, 64, 16, 1)
        self.critic_optimizer = self.rule(self.critic.parameters())

    def build(self, gen):
        return mlp(gen, 8, 16, 64)

    @property
    def models(self):
        return [self.model, self.critic]

    @property
    def optimizers(self):
        return [self.optimizer, self.critic_optimizer]

    def draw(self, x):
        return torch.randn(len(x), 8, generator=self.noise, dtype=x.dtype)

    def step(self, x, y):
        fake = self.model(self.draw(x))
        self.critic_optimizer.zero_grad()
        apart = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(fake.detach())).mean()
        apart.backward()
        self.critic_optimizer.step()
        self.optimizer.zero_grad()
        loss = F.softplus(-self.critic(fake)).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the fake batch is not detached, so the critic's loss leaves its gradient in the generator",
    family="graph-cut",
    channel="trajectory",
    shown_by=("sgd", "adam", "one_step"),
)
class FakeNotDetached(Adversarial):
    """The two losses pull the generator in opposite directions, and what is left is small. The
    balance of the game is blamed, and learning rates are tuned for a week."""

    def step(self, x, y):
        fake = self.model(self.draw(x))
        self.critic_optimizer.zero_grad()
        self.optimizer.zero_grad()
        apart = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(fake)).mean()
        apart.backward(retain_graph=True)
        self.critic_optimizer.step()
        loss = F.softplus(-self.critic(fake)).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the critic is zeroed before the generator's backward, which then fills it again",
    family="accumulation-zeroing",
    channel="trajectory",
    shown_by=("sgd", "adam"),
    hidden_by="one_step",
)
class CriticKeepsGradient(Adversarial):
    """Each optimizer has its zero_grad and its step, in good order. The generator's loss passes
    through the critic and leaves there the gradient of fooling it, which the critic's next step
    adds to its own. The first step is right."""

    def step(self, x, y):
        fake = self.model(self.draw(x))
        apart = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(fake.detach())).mean()
        apart.backward()
        self.critic_optimizer.step()
        self.critic_optimizer.zero_grad()
        self.optimizer.zero_grad()
        loss = F.softplus(-self.critic(fake)).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the generator's own loss uses the detached fakes, so it never gets a gradient",
    family="graph-cut",
    channel="trajectory",
    shown_by=("sgd", "adam", "one_step"),
)
class FakeDetachedForBoth(Adversarial):
    """backward does not complain, for the critic's parameters want the gradient. Both losses look
    as they look when the critic wins."""

    def step(self, x, y):
        fake = self.model(self.draw(x)).detach()
        self.critic_optimizer.zero_grad()
        apart = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(fake)).mean()
        apart.backward()
        self.critic_optimizer.step()
        self.optimizer.zero_grad()
        loss = F.softplus(-self.critic(fake)).mean()
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the generator's loss is computed before the critic steps and differentiated after",
    family="saved-tensor-mutation",
    channel="contract",
    shown_by=("sgd", "adam", "one_step"),
)
class CriticStepsInBetween(Adversarial):
    """The update writes into weights that the graph has saved. Loud since torch 1.5, where
    optimizers began to count as in-place writes; silent before."""

    def step(self, x, y):
        fake = self.model(self.draw(x))
        self.critic_optimizer.zero_grad()
        apart = F.softplus(-self.critic(x)).mean() + F.softplus(self.critic(fake.detach())).mean()
        loss = F.softplus(-self.critic(fake)).mean()
        apart.backward()
        self.critic_optimizer.step()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
