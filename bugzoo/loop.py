"""A training run on the 8x8 digits. A specimen writes `step`; its twin overrides it.

loop = Loop(gen, optimizer="adam")     builds model, optimizer and data afresh
loss = loop.advance()                  one call of `step` on the next batch
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from bugzoo import digits

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def dense(gen: Generator, n_in: int, n_out: int) -> nn.Linear:
    """A float64 linear layer with He-scaled weights drawn from `gen` and a zero bias."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.normal_(0.0, (2.0 / n_in) ** 0.5, generator=gen)
        layer.bias.zero_()
    return layer


def mlp(gen: Generator, *widths: int) -> nn.Sequential:
    """Linear layers of these widths with tanh between them, float64."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths, widths[1:], strict=False):
        layers += [dense(gen, n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Loop:
    """Model, optimizer and data of one run; `step(x, y)` trains on one batch and returns the loss.

    `optimizer`: sgd, adam or adamw, with learning rate `lr` and the keyword arguments `rule`;
    `self.rule(parameters)` makes one more like it.
    `batch`: rows of one step. `micro`: lengths of the micro-batches that the step cuts it into.
    `clip`: largest total gradient norm. `scale`: factor on the loss before backward.
    `noise` draws masks and samples: a generator of its own, so that no draw moves a batch.
    """

    on_step: Callable[[], object] | None = None  # called before each step, to count them

    def __init__(
        self,
        gen: Generator,
        *,
        optimizer: str = "sgd",
        lr: float = 0.1,
        rule: dict | None = None,
        batch: int = 32,
        micro: tuple[int, ...] = (),
        clip: float = math.inf,
        scale: float = 1.0,
    ):
        self.lr, self.clip, self.scale = lr, clip, scale
        self.micro = micro or (batch,)
        self.noise = Generator().manual_seed(int(torch.randint(2**31, (), generator=gen)))
        self.rule = partial(OPTIMIZERS[optimizer], lr=lr, **(rule or {}))
        self.model = self.build(gen)
        self.optimizer = self.rule(self.model.parameters())
        self.batches: Iterator[tuple[Tensor, Tensor]] = digits.batches(gen, batch)

    def build(self, gen: Generator) -> nn.Module:
        return mlp(gen, 64, 32, 10)

    @property
    def models(self) -> list[nn.Module]:
        return [self.model]

    @property
    def optimizers(self) -> list[Optimizer]:
        return [self.optimizer]

    def step(self, x: Tensor, y: Tensor) -> float:
        raise NotImplementedError

    def advance(self) -> float:
        """One step on the next batch; returns the loss that the loop reports."""
        if self.on_step:
            self.on_step()
        return float(self.step(*next(self.batches)))


def textbook(loop: Loop, x: Tensor, y: Tensor) -> float:
    """The step as the textbook has it: mean cross-entropy of the whole batch, clip, one update."""
    return descend(F.cross_entropy(loop.model(x), y), loop.optimizer, loop.clip)


def descend(loss: Tensor, optimizer: Optimizer, clip: float = math.inf) -> float:
    """One update of the optimizer's parameters, by its own rule; returns the loss.

    Nothing is accumulated, scaled or kept; gradients come from `autograd.grad`, never `.backward()`.
    A parameter that the loss does not use stays as it is.
    """
    held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    grads = torch.autograd.grad(loss, held, allow_unused=True)
    found = [(p, g) for p, g in zip(held, grads, strict=True) if g is not None]
    norm = torch.linalg.vector_norm(torch.stack([g.norm() for _, g in found])).item()
    for p, g in found:
        # torch.nn.utils.clip_grad_norm_ adds 1e-6 to the norm; so does this, to agree to 1e-7
        p.grad = g * min(1.0, clip / (norm + 1e-6))
    optimizer.step()
    for p in held:
        p.grad = None
    return loss.item()
