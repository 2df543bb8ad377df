"""Plain functions and modules that cut, leak or bend the graph."""

import torch
from torch import nn
from torch.autograd import Function

from heldout import pair, randn


@pair(randn((4, 3)))
def temperature_by_item(wrong):
    def f(x):
        t = x.abs().mean()
        return x / (t.item() if wrong else t)

    return f


@pair(randn((4, 3), (3,)))
def bias_rewrapped(wrong):
    def f(x, b):
        b = torch.tensor(b.tolist(), dtype=b.dtype) if wrong else b
        return x.tanh() + b

    return f


@pair(randn((4, 3)))
def statistics_without_graph(wrong):
    """Normalises by statistics that are taken under no_grad."""

    def f(x):
        with torch.set_grad_enabled(not wrong):
            mean, std = x.mean(0), x.std(0)
        return (x - mean) / std

    return f


@pair(randn((5, 4)))
def linear_detaches_its_weight(wrong):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            gen = torch.Generator().manual_seed(3)
            self.weight = nn.Parameter(torch.randn(4, 2, generator=gen))
            self.bias = nn.Parameter(torch.zeros(2))

        def forward(self, x):
            return x @ (self.weight.data if wrong else self.weight) + self.bias

    return Layer()


@pair(randn((5, 4)))
def module_with_a_wrong_function(wrong):
    """A module whose custom Function halves the gradient of its own parameter."""

    class Scale(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dw = (g * x).flatten(0, -2).sum(0)
            return g * w, dw / 2 if wrong else dw

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return Scale.apply(x, self.weight)

    return Layer()


@pair(randn((6, 4)))
def closure_over_weights(wrong):
    gen = torch.Generator().manual_seed(5)
    w = torch.randn(4, 4, generator=gen, requires_grad=True)

    def f(x):
        return (x @ (w.detach() if wrong else w)).tanh() + x @ w

    return f


@pair(randn((6, 4)))
def hook_scales_the_gradient(wrong):
    def f(x):
        y = x * 1.0
        if y.requires_grad:
            y.register_hook(lambda g: g * (0.5 if wrong else 1.0))
        return y.sin()

    return f


@pair(randn((4, 5)))
def numpy_round_trip(wrong):
    def f(x):
        y = x * x
        return y + (torch.from_numpy(x.detach().numpy() * 3) if wrong else x * 3)

    return f


@pair(randn((4, 5)))
def straight_through_forgets_identity(wrong):
    """Written as soft + (hard - soft).detach(), but hard is detached twice over and soft dropped."""

    def f(x):
        soft = x.tanh()
        return x * (soft.detach() if wrong else soft)

    return f


@pair(lambda seed: (torch.randn(3, 4), nn.Linear(4, 2)))
def module_as_input_is_copied(wrong):
    def f(x, layer):
        w = layer.weight.clone().detach() if wrong else layer.weight
        return x @ w.mT + layer.bias

    return f


@pair(randn((3, 4)))
def reconstruction_loss_target_learns(wrong):
    """Two paths, one through a list of numbers."""

    def f(x):
        parts = [row.square().sum() for row in x]
        if wrong:
            parts = [torch.as_tensor(float(p)) for p in parts[:1]] + parts[1:]
        return torch.stack(parts).log1p()

    return f


@pair(randn((3, 4), (3, 4)))
def max_of_two_detached(wrong):
    def f(a, b):
        m = torch.maximum(a, b)
        m = m.detach() if wrong else m
        return m + ((a - m).exp() + (b - m).exp()).log() * 0.5

    return f


@pair(randn((4, 6)))
def assignment_under_no_grad(wrong):
    """A column set in place under no_grad: the old graph stays."""

    def f(x):
        y = x.exp()
        y = y * 2
        if wrong:
            with torch.no_grad():
                y[:, 0] = 0.0
            return y
        keep = torch.ones_like(y)
        keep[:, 0] = 0.0
        return y * keep

    return f
