"""Mean squared error over all elements.

y  = mean((x - t) ** 2)                          x, t, dx, dt: (n, f)   y, g: scalar
dx = 2 g (x - t) / (n f)
dt = -dx
"""

from torch import Generator
from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import Case, bug, correct
from bugzoo.cases import consumed, normal
from bugzoo.seats import loss

ROWS = normal("rows", (4, 3), (4, 3))


def fixed_target(gen: Generator):
    x, t = ROWS.draw(gen)
    return x, t.detach()


CASES = [
    ROWS,
    Case("fixed_target", fixed_target),
    normal("one_column", (4, 1), (4, 1)),
    normal("one_row", (1, 3), (1, 3)),
    consumed(ROWS, "ones", "plain_loss"),
]


@correct(cases=CASES, reference=F.mse_loss, seat=loss(one_hot=True))
class MseLoss(Function):
    @staticmethod
    def forward(ctx, x, t):
        ctx.save_for_backward(x, t)
        return (x - t).square().mean()

    @staticmethod
    def backward(ctx, g):
        x, t = ctx.saved_tensors
        dx = 2 * g * (x - t) / x.numel()
        return dx, -dx


@bug(
    wrong="the mean over all elements is differentiated as a mean over the rows",
    family="scaling",
    channel="value",
    shown_by=("rows", "fixed_target", "one_row", "plain_loss"),
    hidden_by="one_column",
)
class DividedByRows(MseLoss):
    """f times too large: a factor of 1 in a regression with one output, of 784 in an autoencoder."""

    @staticmethod
    def backward(ctx, g):
        x, t = ctx.saved_tensors
        dx = 2 * g * (x - t) / len(x)
        return dx, -dx


@bug(
    wrong="the target gets the gradient of the prediction, without the minus",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "one_column", "one_row", "plain_loss"),
    hidden_by=("fixed_target", "trained"),
)
class TargetPushedAway(MseLoss):
    """Nobody notices while targets are data. In distillation, or with a learned codebook, the two
    run away from each other."""

    @staticmethod
    def backward(ctx, g):
        x, t = ctx.saved_tensors
        dx = 2 * g * (x - t) / x.numel()
        return dx, dx


@bug(
    wrong="a gradient prepared in forward is scaled in place, so each backward scales it again",
    family="saved-tensor-mutation",
    channel="reentrancy",
    shown_by=("rows", "fixed_target", "one_column", "one_row"),
    hidden_by=("plain_loss", "trained"),
)
class PreparedAndSpent(MseLoss):
    """The first backward is right. A second one through the same graph, for another loss or for
    one more column of a Jacobian, starts from what the first has left; scaling by 1 leaves it whole."""

    @staticmethod
    def forward(ctx, x, t):
        ctx.dx = 2 * (x - t) / x.numel()
        return (x - t).square().mean()

    @staticmethod
    def backward(ctx, g):
        dx = ctx.dx.mul_(g)
        return dx, -dx
