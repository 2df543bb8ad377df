"""The plain step under observation: a histogram of activations, the direction of their gradient.

    h = tanh(x W + b)                    looked at after the forward, clipped to the plot's range
    g = dL/dh                            looked at in the backward, as g / |g|

Whoever looks must not touch: h is saved by autograd, and g is on its way to the layer below.
"""

import numpy as np
from torch.nn import functional as F

from bugzoo import Context, Loop, bug, correct
from bugzoo.loop import textbook

CASES = [
    Context("watched", {"limit": 0.5, "every": 1}),
    Context("wide_plot", {"limit": 1.0, "every": 1}),
    Context("unwatched", {"limit": 0.5, "every": 1000}),
]


@correct(cases=CASES, reference=textbook)
class Watched(Loop):
    def __init__(self, gen, *, limit, every, **options):
        super().__init__(gen, **options)
        self.limit, self.every, self.count = limit, every, 0

    def plot(self, h):
        values = h.detach().numpy().copy()
        np.clip(values, -self.limit, self.limit, out=values)
        self.histogram = np.histogram(values, bins=8)

    def look(self, g):
        self.direction = g / g.norm()

    def forward(self, x):
        if self.count % self.every:
            return self.model(x)
        outputs = []
        handle = self.model[1].register_forward_hook(lambda layer, args, h: outputs.append(h))
        logits = self.model(x)
        handle.remove()
        self.plot(outputs[0])
        outputs[0].register_hook(self.look)
        return logits

    def step(self, x, y):
        self.count += 1
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.forward(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


@bug(
    wrong="the histogram clips the activations themselves, through a NumPy view of their memory",
    family="saved-tensor-mutation",
    channel="trajectory",
    shown_by="watched",
    hidden_by=("wide_plot", "unwatched"),
)
class PlotWritesActivations(Watched):
    """`detach()` shares memory and NumPy counts no versions. The loss is right, since it was
    computed before; the slope of tanh and the weight gradient above it are not. tanh stays within
    1, so a plot from -1 to 1 harms nothing."""

    def plot(self, h):
        values = h.detach().numpy()
        np.clip(values, -self.limit, self.limit, out=values)
        self.histogram = np.histogram(values, bins=8)


@bug(
    wrong="the hook normalises the gradient in place, and the layer below gets the normalised one",
    family="saved-tensor-mutation",
    channel="trajectory",
    seen="https://github.com/pytorch/pytorch/pull/178315",
    shown_by=("watched", "wide_plot"),
    hidden_by="unwatched",
)
class LookWritesGradient(Watched):
    """The hook returns nothing, as a hook should that only looks. The run changes when the
    monitoring is switched on, and the bug is gone with every attempt to print it."""

    def look(self, g):
        self.direction = g.div_(g.norm())


@bug(
    wrong="the hook is never removed, so the hook of every step keeps the outputs of all later ones",
    family="memory-retention",
    channel="memory",
    shown_by=("watched", "wide_plot"),
    hidden_by="unwatched",
)
class HookLeft(Watched):
    """Step n runs n hooks and keeps n outputs with their graphs: memory grows with the square of
    the time, and so does the run."""

    def forward(self, x):
        if self.count % self.every:
            return self.model(x)
        outputs = []
        self.model[1].register_forward_hook(lambda layer, args, h: outputs.append(h))
        logits = self.model(x)
        self.plot(outputs[0])
        outputs[0].register_hook(self.look)
        return logits
