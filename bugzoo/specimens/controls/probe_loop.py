"""An autoencoder, and a classifier that looks on: two optimizers, and a detach between them.

    encoder, decoder:  min  mean (x - D(E(x)))^2             x: (n, 64), E(x): (n, 16)
    probe:             min  CE(P(E(x)), y)                   E held fixed

Alain & Bengio, 2016.
"""

from torch import nn
from torch.nn import functional as F

from bugzoo import Context, Loop, control
from bugzoo.loop import dense, descend


def reference(loop, x, y):
    code = loop.model["encoder"](x).tanh()
    descend(F.mse_loss(loop.model["decoder"](code), x), loop.optimizer)
    return descend(F.cross_entropy(loop.probe(code.detach()), y), loop.probe_optimizer)


@control(
    looks="the classification loss never reaches the encoder",
    right="a probe must not change what it measures; the encoder has a loss of its own",
    cases=[Context("adam", {"optimizer": "adam", "lr": 1e-2})],
    reference=reference,
)
class Probe(Loop):
    def __init__(self, gen, **options):
        super().__init__(gen, **options)
        self.probe = dense(gen, 16, 10)
        self.probe_optimizer = self.rule(self.probe.parameters())

    def build(self, gen):
        return nn.ModuleDict({"encoder": dense(gen, 64, 16), "decoder": dense(gen, 16, 64)})

    @property
    def models(self):
        return [self.model, self.probe]

    @property
    def optimizers(self):
        return [self.optimizer, self.probe_optimizer]

    def step(self, x, y):
        code = self.model["encoder"](x).tanh()
        self.optimizer.zero_grad()
        F.mse_loss(self.model["decoder"](code), x).backward()
        self.optimizer.step()
        self.probe_optimizer.zero_grad()
        loss = F.cross_entropy(self.probe(code.detach()), y)
        loss.backward()
        self.probe_optimizer.step()
        return loss.item()
