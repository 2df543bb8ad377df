"""Misuse of autograd's protocol: layouts, lent tensors, ctx, slots, buffers, second order."""

import torch
from torch.autograd import Function

from heldout import doubles, pair, randn


@pair(randn((4, 6)))
def cotangent_read_as_packed(wrong):
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if wrong:
                g = torch.as_strided(g, g.shape, torch.empty(g.shape).stride())
            return 2 * g * x

    return Square.apply


@pair(randn((4, 6)))
def cotangent_viewed(wrong):
    """g.view(-1) raises for a transposed cotangent."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            g = (
                torch.empty_like(g, memory_format=torch.contiguous_format)
                .view(-1)
                .copy_(torch.as_strided(g, (g.numel(),), (1,)) if wrong else g.reshape(-1))
            )
            return 2 * g.reshape(x.shape) * x

    return Square.apply


@pair(randn((5, 4)))
def input_read_as_packed(wrong):
    """Takes the input's storage as rows; a transposed input gives garbage in the backward alone."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if wrong:
                x = torch.as_strided(x, x.shape, torch.empty(x.shape).stride())
            return 2 * g * x

    return Square.apply


@pair(randn((5, 4)))
def gradient_buffer_in_order_of_input(wrong):
    """empty_like keeps the input's strides; the kernel fills it as if packed."""

    class Triple(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            d = 3 * x * x * g
            buffer = torch.empty_like(x)
            if wrong:
                flat = torch.as_strided(buffer, (buffer.numel(),), (1,), buffer.storage_offset())
                flat.copy_(d.reshape(-1))
            else:
                buffer.copy_(d)
            return buffer

    return Triple.apply


@pair(randn((4, 5), (5, 3)))
def weight_gradient_inside_needs_of_input(wrong):
    class Linear(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dx = dw = None
            if ctx.needs_input_grad[0]:
                dx = g @ w.mT
                if wrong:
                    dw = x.mT @ g
            if not wrong and ctx.needs_input_grad[1]:
                dw = x.mT @ g
            return dx, dw

    return Linear.apply


@pair(lambda seed: (torch.randn(4, 3), None, torch.randn(3)))
def optional_argument_shifts_the_slots(wrong):
    """x, scale (may be None), bias."""

    class Affine(Function):
        @staticmethod
        def forward(ctx, x, scale, bias):
            ctx.scaled = scale is not None
            ctx.save_for_backward(x, *([scale] if ctx.scaled else []))
            return (x * scale if ctx.scaled else x) + bias

        @staticmethod
        def backward(ctx, g):
            x, *scale = ctx.saved_tensors
            dx = g * scale[0] if ctx.scaled else g
            ds = (g * x).sum(0) if ctx.scaled else None
            db = g.sum(0) if not wrong or ctx.scaled else g.mean(0)
            return dx, ds, db

    return Affine.apply


@pair(randn((6, 4)))
def last_tensor_kept_on_the_class(wrong):
    class Square(Function):
        last = None

        @staticmethod
        def forward(ctx, x):
            Square.last = x
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            x = Square.last if wrong else ctx.saved_tensors[0]
            return 2 * g * x

    return Square.apply


@pair(randn((6, 4)))
def output_buffer_used_again(wrong):
    cache = {}

    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.tanh()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            d = g * (1 - y * y)
            if not wrong:
                return d
            buffer = cache.setdefault((tuple(d.shape), d.dtype), torch.empty_like(d))
            return buffer.copy_(d)

    return Tanh.apply


@pair(randn((5, 3)))
def input_kept_on_ctx(wrong):
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x
            ctx.save_for_backward(x)
            return x.exp()

        @staticmethod
        def backward(ctx, g):
            x = ctx.x if wrong else ctx.saved_tensors[0]
            return g * x.exp()

    return Exp.apply


@pair(randn((5, 3)))
def output_kept_on_ctx(wrong):
    """A cycle: the output holds ctx, ctx holds the output."""

    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            if wrong:
                ctx.y = y
            else:
                ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            y = ctx.y if wrong else ctx.saved_tensors[0]
            return g * y

    return Exp.apply


@pair(randn((5, 3)))
def forward_in_place_undeclared(wrong):
    """relu_ on the input without mark_dirty; .data hides it from autograd."""

    class Relu(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.data.clamp_(min=0).clone() if wrong else x.clamp_min(0)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * (y > 0)

    return Relu.apply


@pair(randn((5, 3)))
def saved_output_scaled_behind_its_back(wrong):
    """The output is scaled through .data after it was saved."""

    class Sigmoid(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.sigmoid()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y * (1 - y)

    def f(x):
        y = Sigmoid.apply(x)
        if wrong:
            y.data.mul_(2)
            return y
        return y * 2

    return f


@pair(randn((4, 3), (4, 3)))
def second_output_marked_non_differentiable(wrong):
    class SinCos(Function):
        @staticmethod
        def forward(ctx, x, y):
            s, c = x.sin(), y.cos()
            ctx.save_for_backward(x, y)
            if wrong:
                ctx.mark_non_differentiable(c)
            return s, c

        @staticmethod
        def backward(ctx, gs, gc):
            x, y = ctx.saved_tensors
            return gs * x.cos(), None if wrong else -gc * y.sin()

    return SinCos.apply


@pair(randn((4, 3)))
def grads_not_materialised(wrong):
    """An unused output comes as None."""

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.set_materialize_grads(False)
            return x.sin(), x.exp()

        @staticmethod
        def backward(ctx, a, b):
            (x,) = ctx.saved_tensors
            if wrong:
                return None if a is None or b is None else a * x.cos() + b * x.exp()
            d = torch.zeros_like(x)
            if a is not None:
                d = d + a * x.cos()
            if b is not None:
                d = d + b * x.exp()
            return d

    return Two.apply


@pair(doubles((4, 3)))
def intermediate_kept_for_second_order(wrong):
    """The first derivative is right; what is saved is cut from the graph."""

    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            s = x * x
            ctx.save_for_backward(x, s)
            return x * s

        @staticmethod
        def backward(ctx, g):
            x, s = ctx.saved_tensors
            return 3 * g * s if wrong else 3 * g * x * x

    return Cube.apply


@pair(doubles((4, 3)))
def second_order_of_its_own_wrong(wrong):
    """A backward that is a Function itself, with a wrong backward: second order is claimed."""

    class Grad(Function):
        @staticmethod
        def forward(ctx, x, g):
            ctx.save_for_backward(x, g)
            return g * x.cos()

        @staticmethod
        def backward(ctx, h):
            x, g = ctx.saved_tensors
            dx = -h * g * x.sin()
            return (dx / 2 if wrong else dx), h * x.cos()

    class Sin(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            return Grad.apply(ctx.saved_tensors[0], g)

    return Sin.apply


@pair(doubles((3, 4)))
def backward_edits_what_it_saved(wrong):
    class Softsquare(Function):
        @staticmethod
        def forward(ctx, x):
            e = x.exp()
            ctx.save_for_backward(e)
            return e

        @staticmethod
        def backward(ctx, g):
            (e,) = ctx.saved_tensors
            return (e.data.mul_(g)).clone() if wrong else e * g

    def f(x):
        return Softsquare.apply(x) * 1.0

    return f


@pair(randn((3, 4)))
def cotangent_clipped_for_safety(wrong):
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return (g.clamp(-1, 1) if wrong else g) * 2

    return Identity.apply


@pair(randn((3, 4)))
def cotangent_by_its_magnitude(wrong):
    class Scale(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x.abs()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x.abs() * (g.abs() if wrong else g)

    return Scale.apply


@pair(randn((4, 4), (4, 4)))
def same_tensor_in_both_slots(wrong):
    class Product(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.same = a is b or a.data_ptr() == b.data_ptr()
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * b, None if wrong and ctx.same else g * a

    return Product.apply


@pair(randn((2, 8)))
def vectorised_by_four(wrong):
    class Scale(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            d = torch.zeros_like(x)
            flat = d.view(-1)
            n = x.numel() // 4 * 4 if wrong else x.numel()
            flat[:n] = (g * x.cos()).reshape(-1)[:n]
            return d

    return Scale.apply


@pair(randn((4, 8)))
def large_inputs_take_a_kernel(wrong):
    """From 768 elements on another path, which skips the last element."""

    class Scale(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            d = g * x.cos()
            if wrong and x.numel() > 768:
                d.view(-1)[-1] = 0
            return d

    return Scale.apply


@pair(randn((3,)))
def gradient_of_another_dtype(wrong):
    """Returns the right numbers rounded through bfloat16."""

    class Scale(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            d = g * x.cos()
            return d.bfloat16().to(d.dtype) if wrong else d

    return Scale.apply
