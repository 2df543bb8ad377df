"""A linear layer that computes only the gradients that somebody wants.

y  = x w + b                                     x, dx: (n, d)   w, dw: (d, k)   b, db: (k,)
"""

from torch import Generator
from torch.autograd import Function

from bugzoo import Case, control
from bugzoo.cases import normal


def reference(x, w, b):
    return x @ w + b


ROWS = normal("rows", (5, 3), (3, 2), (2,))


def data_in(gen: Generator):
    x, w, b = ROWS.draw(gen)
    return x.detach(), w, b


def frozen(gen: Generator):
    x, w, b = ROWS.draw(gen)
    return x, w.detach(), b.detach()


@control(
    looks="backward returns None for inputs that have a derivative",
    right="each slot is guarded by its own entry of needs_input_grad",
    cases=[ROWS, Case("data_in", data_in), Case("frozen", frozen)],
    reference=reference,
)
class GuardedSlots(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return x @ w + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        needs_x, needs_w, needs_b = ctx.needs_input_grad
        dx = g @ w.mT if needs_x else None
        dw = x.mT @ g if needs_w else None
        db = g.sum(-2) if needs_b else None
        return dx, dw, db
