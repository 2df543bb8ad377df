"""Gated linear recurrence along the last axis, from a state of 0.

h_j  = a_j h_{j-1} + x_j                         a, x, h, da, dx: (n, t)
s    = h_t                                       the final state, the second output: (n,)
dx_j = g_j + a_{j+1} dx_{j+1}                    the last one: g_t + the cotangent of s
da_j = dx_j h_{j-1}
"""

import torch
from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, consumed, normal
from bugzoo.seats import pair


def reference(a, x, final):
    states = [torch.zeros_like(x[:, 0])]
    for a_j, x_j in zip(a.mT, x.mT, strict=True):
        states.append(a_j * states[-1] + x_j)
    h = torch.stack(states[1:], -1)
    return (h, states[-1]) if final else h


def constant_gate(a, x):
    a.copy_(a[:, :1].expand_as(a))


PLAIN = normal("plain", (3, 6), (3, 6), extras=(True,))
CASES = [
    PLAIN,
    normal("final_state_unused", (3, 6), (3, 6), extras=(False,)),
    changed(PLAIN, "constant_gate", constant_gate),
    normal("one_step", (3, 1), (3, 1), extras=(True,)),
    consumed(PLAIN, "transposed"),
]


@correct(cases=CASES, reference=reference, seat=pair(before=torch.tanh, extras=(False,)))
class Recurrence(Function):
    @classmethod
    def apply(cls, a, x, final):
        h, s = super().apply(a, x)
        return (h, s) if final else h

    @staticmethod
    def forward(ctx, a, x):
        h, s = torch.empty_like(x), torch.zeros_like(x[:, 0])
        for j in range(x.shape[-1]):
            s = a[:, j] * s + x[:, j]
            h[:, j] = s
        ctx.save_for_backward(a, h)
        return h, s

    @staticmethod
    def backward(ctx, g, ds):
        a, h = ctx.saved_tensors
        dx = torch.empty_like(h)
        carry = ds
        for j in reversed(range(h.shape[-1])):
            dx[:, j] = g[:, j] + carry
            carry = a[:, j] * dx[:, j]
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], -1)
        return dx * before, dx


@bug(
    wrong="the cotangent of the final state is left out",
    family="missing-reduction",
    channel="value",
    seen="https://github.com/fla-org/flash-linear-attention/pull/459",
    shown_by=("plain", "constant_gate", "one_step", "transposed"),
    hidden_by="final_state_unused",
)
class FinalStateIgnored(Recurrence):
    """Nothing flows back from one chunk of a long sequence to the one before. In the real case it
    was missing from the gate's gradient alone."""

    @staticmethod
    def backward(ctx, g, ds):
        a, h = ctx.saved_tensors
        dx = torch.empty_like(h)
        carry = torch.zeros_like(ds)
        for j in reversed(range(h.shape[-1])):
            dx[:, j] = g[:, j] + carry
            carry = a[:, j] * dx[:, j]
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], -1)
        return dx * before, dx


@bug(
    wrong="the carry is multiplied by the gate of the step that it arrives at, one too early",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "final_state_unused", "transposed"),
    hidden_by=("constant_gate", "one_step"),
)
class GateOneStepOff(Recurrence):
    """Forward the gate j leads into step j, so on the way back it leads out of it. A decay that is
    the same at all steps does not tell the two apart."""

    @staticmethod
    def backward(ctx, g, ds):
        a, h = ctx.saved_tensors
        dx = torch.empty_like(h)
        carry = ds
        for j in reversed(range(h.shape[-1])):
            dx[:, j] = g[:, j] + carry
            carry = a[:, j - 1] * dx[:, j]
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], -1)
        return dx * before, dx


@bug(
    wrong="the gate's gradient meets the state behind it instead of the state before it",
    family="wrong-math",
    channel="value",
    shown_by=("plain", "final_state_unused", "constant_gate", "one_step", "transposed"),
)
class StateBehindTheGate(Recurrence):
    """h is at hand and has the right shape, so it is not shifted by one. With gates near 1 and a
    slow input the two differ little."""

    @staticmethod
    def backward(ctx, g, ds):
        a, h = ctx.saved_tensors
        dx = torch.empty_like(h)
        carry = ds
        for j in reversed(range(h.shape[-1])):
            dx[:, j] = g[:, j] + carry
            carry = a[:, j] * dx[:, j]
        return dx * h, dx
