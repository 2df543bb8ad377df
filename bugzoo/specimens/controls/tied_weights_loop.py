"""An autoencoder whose decoder is its encoder, transposed.

L = mean (x - tanh(x W' + b) W - c)^2        x: (n, 64), W: (16, 64), one parameter in two places
"""

from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import dense, descend


def reference(loop, x, y):
    encoder, decoder = loop.model["encoder"], loop.model["decoder"]
    code = (x @ encoder.weight.T + encoder.bias).tanh()
    loss = (code @ encoder.weight + decoder.bias - x).square().mean()
    return descend(loss, loop.optimizer)


@control(
    looks="a weight receives two gradients in one backward, and the decoder's own gets none",
    right="autograd adds the two uses; the decoder's own weight is frozen and unused",
    cases=[Context("adam", {"optimizer": "adam", "lr": 1e-2})],
    reference=reference,
)
class TiedWeights(Loop):
    def build(self, gen):
        parts = nn.ModuleDict({"encoder": dense(gen, 64, 16), "decoder": dense(gen, 16, 64)})
        parts["decoder"].weight.requires_grad_(False)
        return parts

    def step(self, x, y):
        encoder, decoder = self.model["encoder"], self.model["decoder"]
        self.optimizer.zero_grad()
        code = encoder(x).tanh()
        loss = F.mse_loss(F.linear(code, encoder.weight.T, decoder.bias), x)
        loss.backward()
        self.optimizer.step()
        return loss.item()
