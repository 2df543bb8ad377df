"""Where an operation sits in a network that trains on the digits: its training view.

A seat is a function `(op, gen) -> module` whose module maps a batch to a loss, `module(x, y)`.
Layers sit in the middle, losses at the end:

    hidden      x -> dense -> op(h, *further) -> dense -> cross-entropy
    pair        x -> two dense layers -> op(h, k) -> dense -> cross-entropy
    loss        x -> mlp -> op(logits, y)
    tokens      x -> 8 rows of 8 pixels -> q, k, v -> op(q, k, v) -> dense -> cross-entropy
    table       pixels as 0..16 -> op(table, indices) -> dense -> cross-entropy
    network     op(x, y, *parameters) is the whole network and its loss
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bugzoo import digits
from bugzoo.loop import Loop, dense, mlp

Op = Callable[..., Any]
Seat = Callable[[Op, Generator], nn.Module]
Shape = tuple[int, ...]
WIDTH = 32


def one_to_two(h: Tensor) -> Tensor:
    """1 + sigmoid(h): a domain for logarithms, powers and divisors."""
    return 1 + torch.sigmoid(h)


def averaged(h: Tensor) -> Tensor:
    """h / width: keeps a sum over the layer of the size of one unit."""
    return h / h.shape[-1]


class Seated(Loop):
    """The plain supervised step on a network in which the operation sits."""

    def __init__(self, gen: Generator, *, op: Op, seat: Seat, **options: Any):
        self.op, self.seat = op, seat
        super().__init__(gen, **options)

    def build(self, gen: Generator) -> nn.Module:
        return self.seat(self.op, gen)

    def step(self, x: Tensor, y: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self.model(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Network(nn.Module):
    """Trained parameters and a forward that uses them: `forward(network, x, y) -> loss`."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module | nn.ParameterList):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self._forward = forward

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self._forward(self, x, y)


def hidden(
    *further: Shape,
    before: Callable[[Tensor], Tensor] | None = None,
    residual: bool = False,
    extras: tuple[Any, ...] = (),
) -> Seat:
    """`op(h, *further, *extras)` between two dense layers; h: (n, 32), and so is the result.

    `further`: shapes of more inputs, trained too. `before` is applied to h, to keep it in the
    operation's domain. `residual` adds h to the result, so that two nodes share a cotangent.
    """

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            h = net.first(x)
            h = before(h) if before else h
            out = op(h, *net.further, *extras)
            return F.cross_entropy(net.last(h + out if residual else out), y)

        return Network(
            forward,
            first=dense(gen, 64, WIDTH),
            further=_parameters(gen, further),
            last=dense(gen, WIDTH, 10),
        )

    return seat


def pair(*, before: Callable[[Tensor], Tensor] | None = None, extras: tuple[Any, ...] = ()) -> Seat:
    """`op(h, k, *extras)` of two dense layers' outputs, h, k and the result: (n, 32)."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            h, k = net.first(x), net.second(x)
            h, k = (before(h), before(k)) if before else (h, k)
            return F.cross_entropy(net.last(op(h, k, *extras)), y)

        return Network(
            forward,
            first=dense(gen, 64, WIDTH),
            second=dense(gen, 64, WIDTH),
            last=dense(gen, WIDTH, 10),
        )

    return seat


def convolved(*, taps: int = 5) -> Seat:
    """`op(h, kernel)` slides a trained kernel (5,) over h: (n, 32); the result: (n, 28)."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(net.last(op(net.first(x), net.kernel[0])), y)

        return Network(
            forward,
            first=dense(gen, 64, WIDTH),
            kernel=_parameters(gen, ((taps,),)),
            last=dense(gen, WIDTH - taps + 1, 10),
        )

    return seat


def loss(
    *, one_hot: bool = False, log_probabilities: bool = False, extras: tuple[Any, ...] = ()
) -> Seat:
    """`op(logits, y)` at the end, its mean is minimised; y: (n,) classes, or (n, 10) one-hot.

    `log_probabilities` hands log_softmax(logits) to the operation.
    """

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            scores = net.body(x)
            scores = scores.log_softmax(-1) if log_probabilities else scores
            target = F.one_hot(y, 10).to(scores.dtype) if one_hot else y
            return op(scores, target, *extras).mean()

        return Network(forward, body=mlp(gen, 64, WIDTH, 10))

    return seat


def log_scores() -> Seat:
    """`op(logits)` gives log-probabilities (n, 10) to a negative log-likelihood."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            return F.nll_loss(op(net.body(x)), y)

        return Network(forward, body=mlp(gen, 64, WIDTH, 10))

    return seat


def tokens(*, extras: tuple[Any, ...] = ()) -> Seat:
    """`op(q, k, v)` over the 8 rows of an image; q, k, v and the result: (n, 8, 8)."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            rows = x.reshape(-1, 8, 8)
            mixed = op(net.q(rows), net.k(rows), net.v(rows), *extras)
            return F.cross_entropy(net.last(mixed.reshape(-1, 64)), y)

        return Network(
            forward,
            q=dense(gen, 8, 8),
            k=dense(gen, 8, 8),
            v=dense(gen, 8, 8),
            last=dense(gen, 64, 10),
        )

    return seat


def table(*, width: int = 2, extras: tuple[Any, ...] = ()) -> Seat:
    """`op(table, indices)`; table: (17, width), indices: (n, 64) grey levels 0..16, many repeated."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            rows = op(net.table[0], digits.grey_levels(x), *extras)
            return F.cross_entropy(net.last(rows.reshape(len(x), -1)), y)

        return Network(
            forward, table=_parameters(gen, ((17, width),)), last=dense(gen, 64 * width, 10)
        )

    return seat


def images(out: int, *, extras: tuple[Any, ...] = ()) -> Seat:
    """`op(image)` after a dense layer; image: (n, 8, 8), the result has `out` numbers an image."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            pooled = op(net.first(x).reshape(-1, 8, 8), *extras)
            return F.cross_entropy(net.last(pooled.reshape(len(x), -1)), y)

        return Network(forward, first=dense(gen, 64, 64), last=dense(gen, out, 10))

    return seat


def network(*shapes: Shape, one_hot: bool = False) -> Seat:
    """`op(x, y, *parameters)` is the whole network and its mean loss; `shapes` of the parameters."""

    def seat(op: Op, gen: Generator) -> nn.Module:
        def forward(net: Any, x: Tensor, y: Tensor) -> Tensor:
            return op(x, F.one_hot(y, 10).to(x.dtype) if one_hot else y, *net.parts)

        return Network(forward, parts=_parameters(gen, shapes))

    return seat


def _parameters(gen: Generator, shapes: tuple[Shape, ...]) -> nn.ParameterList:
    """Matrices are He-scaled, vectors start near 1 so that a scale and a shift both matter."""
    drawn = []
    for shape in shapes:
        values = torch.randn(shape, generator=gen, dtype=torch.float64)
        matrix = len(shape) > 1
        drawn.append(nn.Parameter(values * (2 / shape[0]) ** 0.5 if matrix else 1 + 0.1 * values))
    return nn.ParameterList(drawn)
