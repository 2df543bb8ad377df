"""Correlation of each row with one kernel, where the two overlap wholly.

    y_j  = sum_i w_i x_{j + i}                       x, dx: (n, t)   w, dw: (k,)
    dx_j = sum_i w_i g_{j - i}                       y, g:  (n, t - k + 1)
    dw_i = sum_j g_j x_{j + i}                       over rows and places

dx slides the reversed kernel over g, which is zero outside.
"""

from torch.autograd import Function
from torch.nn import functional as F

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import convolved


def reference(x, w):
    return F.conv1d(x[:, None], w[None, None])[:, 0]


def symmetric(x, w):
    w.copy_(w + w.flip(-1))


ROWS = normal("rows", (3, 8), (3,))
CASES = [
    ROWS,
    changed(ROWS, "symmetric_kernel", symmetric),
    normal("kernel_of_one", (3, 5), (1,)),
    normal("one_place", (2, 4), (4,)),
    consumed(ROWS, "narrow"),
]


@correct(cases=CASES, reference=reference, seat=convolved())
class Conv1d(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x.unfold(-1, len(w), 1) @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        padded = F.pad(g, (len(w) - 1, len(w) - 1))
        dx = padded.unfold(-1, len(w), 1) @ w.flip(-1)
        windows = x.unfold(-1, len(w), 1)
        dw = (g[..., None] * windows).flatten(0, -2).sum(-2)
        return dx, dw


@bug(
    wrong="the kernel is not reversed on the way back",
    family="wrong-math",
    channel="value",
    shown_by=("rows", "one_place", "narrow"),
    hidden_by=("symmetric_kernel", "kernel_of_one"),
)
class KernelNotReversed(Conv1d):
    """Blurs and Laplacians are symmetric, and they are what one tries first."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        padded = F.pad(g, (len(w) - 1, len(w) - 1))
        dx = padded.unfold(-1, len(w), 1) @ w
        windows = x.unfold(-1, len(w), 1)
        dw = (g[..., None] * windows).flatten(0, -2).sum(-2)
        return dx, dw


@bug(
    wrong="the cotangent is continued past its ends as if it were constant there",
    family="masking-boundary",
    channel="value",
    shown_by=("rows", "symmetric_kernel", "one_place", "narrow"),
    hidden_by="kernel_of_one",
)
class EdgesReplicated(Conv1d):
    """Outside the output there is no loss, so the cotangent there is 0. The middle is right, and
    the longer the row, the smaller the share that is wrong."""

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        padded = F.pad(g, (len(w) - 1, len(w) - 1), mode="replicate")
        dx = padded.unfold(-1, len(w), 1) @ w.flip(-1)
        windows = x.unfold(-1, len(w), 1)
        dw = (g[..., None] * windows).flatten(0, -2).sum(-2)
        return dx, dw
