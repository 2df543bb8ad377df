"""A step along a clipped gradient: all parameters share one norm and one factor.

g <- g * min(1, clip / |g|)          |g|: over all parameters together
"""

from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("binding", {"clip": 0.05}),
    Context("loose", {"clip": 1e3}),
    Context("momentum", {"clip": 0.2, "rule": {"momentum": 0.9}, "lr": 0.02}),
]


@correct(cases=CASES, reference=textbook)
class Clipping(Loop):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the clip comes after the step, when the gradient has been used already",
    family="hooks-clip-optimizer",
    channel="trajectory",
    shown_by=("binding", "momentum"),
    hidden_by="loose",
)
class ClippedAfterStep(Clipping):
    """The norm that is logged is the clipped one, and the day on which a clip is needed is the day
    on which it is found missing."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        clip_grad_norm_(self.model.parameters(), self.clip)
        return loss.item()


@bug(
    wrong="only the head is handed to the clip; the layers below step unclipped",
    family="hooks-clip-optimizer",
    channel="trajectory",
    seen="https://github.com/google-deepmind/open_spiel/issues/827",
    shown_by=("binding", "momentum"),
    hidden_by="loose",
)
class ClipsTheHead(Clipping):
    """The call is there and the norm that it returns is a norm, only of the wrong parameters."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        clip_grad_norm_(self.model[-1].parameters(), self.clip)
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="each tensor is clipped by its own norm, so the gradient changes direction",
    family="hooks-clip-optimizer",
    channel="trajectory",
    shown_by=("binding", "momentum"),
    hidden_by="loose",
)
class ClipsEachTensor(Clipping):
    """Every norm is within bounds, as asserted. The ratio between layers is gone, and the total
    may still be the square root of their number too large."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        for p in self.model.parameters():
            clip_grad_norm_(p, self.clip)
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="backward is called twice on the same loss, which doubles the gradient",
    family="accumulation-zeroing",
    channel="trajectory",
    shown_by="loose",
    hidden_by=("binding", "momentum"),
)
class BackwardTwice(Clipping):
    """Once in a helper, once in the loop, with `retain_graph=True` because torch asked for it. A
    binding clip takes the factor out again."""

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward(retain_graph=True)
        loss.backward()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.item()
