"""A deep chain of linear layers without activations: healthy code with sick gradients, which explode.

dL/dW_1 = (W_8 ... W_2)' dL/dz x'        each factor stretches about threefold

Pascanu, Mikolov & Bengio, 2013, whose remedy, a clip, keeps the run finite.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from bugzoo import Context, Loop, control
from bugzoo.loop import dense, textbook


@control(
    sick=True,
    looks="gradient norms are in the thousands, and so is the loss",
    right="it is the derivative of this function to the last digit; the architecture is at fault",
    cases=[Context("clipped", {"clip": 1.0, "lr": 1e-3})],
    reference=textbook,
)
class ExplodingChain(Loop):
    def build(self, gen):
        widths = [64, *[16] * 8, 10]
        model = nn.Sequential(*(dense(gen, *pair) for pair in zip(widths, widths[1:])))
        with torch.no_grad():
            for p in model[1:-1].parameters():
                p *= 2
        return model

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.item()
