"""A deep chain of sigmoids: healthy code with sick gradients, which vanish.

dL/dh_0 = W_1' s_1 ... W_12' s_12 dL/dh_12       slope s <= 1/4 at each layer

Hochreiter, 1991; Glorot & Bengio, 2010.
"""

from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import dense, textbook


@control(
    sick=True,
    looks="the gradient of the first layer is a hundred thousand times smaller than that of the last",
    right="it is the derivative of this function to the last digit; the architecture is at fault",
    cases=[Context("sgd", steps=16)],
    reference=textbook,
)
class VanishingChain(Loop):
    def build(self, gen):
        widths = [64, *[16] * 12]
        hidden = [(dense(gen, *pair), nn.Sigmoid()) for pair in zip(widths, widths[1:])]
        return nn.Sequential(*(layer for pair in hidden for layer in pair), dense(gen, 16, 10))

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()
