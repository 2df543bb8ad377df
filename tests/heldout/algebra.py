"""Matrix products, solves, decompositions, distances, complex and sparse operations."""

import torch
from torch.autograd import Function

from heldout import doubles, pair, randn


@pair(randn((6, 6), (6, 6)))
def matmul_without_transpose(wrong):
    class MatMul(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            square = wrong and b.shape[-1] == b.shape[-2] == a.shape[-2]
            return g @ (b if square else b.mT), a.mT @ g

    return MatMul.apply


@pair(randn((8, 4), (4, 3), (3,)))
def linear_bias_of_batch_mean(wrong):
    class Linear(Function):
        @staticmethod
        def forward(ctx, x, w, b):
            ctx.save_for_backward(x, w)
            return x @ w + b

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            db = g.flatten(0, -2)
            dw = x.flatten(0, -2).mT @ g.flatten(0, -2)
            return g @ w.mT, dw, db.mean(0) if wrong else db.sum(0)

    return Linear.apply


@pair(randn((2, 3, 4), (4, 5)))
def shared_weight_keeps_last_batch(wrong):
    class Shared(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            dw = x.mT @ g
            while dw.dim() > 2:
                dw = dw[-1] if wrong else dw.sum(0)
            return g @ w.mT, dw

    return Shared.apply


@pair(lambda seed: (torch.randn(4, 8), torch.randn(8, 2), torch.randn(2, 8), 4.0))
def lora_scale_once(wrong):
    class Lora(Function):
        @staticmethod
        def forward(ctx, x, a, b, alpha):
            ctx.save_for_backward(x, a, b)
            ctx.s = alpha / a.shape[1]
            return x + ctx.s * (x @ a @ b)

        @staticmethod
        def backward(ctx, g):
            x, a, b = ctx.saved_tensors
            gb = ctx.s * (g @ b.mT)
            da = x.mT @ (gb / ctx.s if wrong else gb)
            return g + gb @ a.mT, da, ctx.s * (x @ a).mT @ g, None

    return Lora.apply


@pair(lambda seed: (torch.eye(4).double() * 3 + torch.randn(4, 4).double() * 0.3,
                    torch.randn(4, 2).double()))  # fmt: skip
def solve_without_transpose(wrong):
    class Solve(Function):
        @staticmethod
        def forward(ctx, a, b):
            x = torch.linalg.solve(a, b)
            ctx.save_for_backward(a, x)
            return x

        @staticmethod
        def backward(ctx, g):
            a, x = ctx.saved_tensors
            db = torch.linalg.solve(a if wrong else a.mT, g)
            return -db @ x.mT, db

    return Solve.apply


def lower(seed):
    torch.manual_seed(seed)
    a = torch.randn(4, 4, dtype=torch.float64)
    return a.tril() + 3 * torch.eye(4, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)


@pair(lower)
def triangular_solve_fills_the_other_triangle(wrong):
    """The forward reads the lower triangle alone."""

    class Solve(Function):
        @staticmethod
        def forward(ctx, a, b):
            x = torch.linalg.solve_triangular(a.tril(), b, upper=False)
            ctx.save_for_backward(a, x)
            return x

        @staticmethod
        def backward(ctx, g):
            a, x = ctx.saved_tensors
            db = torch.linalg.solve_triangular(a.tril().mT, g, upper=True)
            da = -db @ x.mT
            return da if wrong else da.tril(), db

    return Solve.apply


@pair(lambda seed: torch.randn(4, 4).double() + 4 * torch.eye(4).double())
def inverse_transposed_on_one_side(wrong):
    class Inverse(Function):
        @staticmethod
        def forward(ctx, a):
            y = torch.linalg.inv(a)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return -(y.mT @ g @ (y if wrong else y.mT))

    return Inverse.apply


@pair(lambda seed: torch.randn(3, 3).double() + 3 * torch.eye(3).double())
def log_det_without_transpose(wrong):
    class LogDet(Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return torch.linalg.slogdet(a)[1]

        @staticmethod
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            inv = torch.linalg.inv(a)
            return g[..., None, None] * (inv if wrong else inv.mT)

    return LogDet.apply


def symmetric(seed):
    torch.manual_seed(seed)
    a = torch.randn(4, 4, dtype=torch.float64)
    return (a + a.mT).requires_grad_()


@pair(symmetric)
def eigenvalues_reversed(wrong):
    class Eigenvalues(Function):
        @staticmethod
        def forward(ctx, a):
            w, v = torch.linalg.eigh((a + a.mT) / 2)
            ctx.save_for_backward(v)
            return w

        @staticmethod
        def backward(ctx, g):
            (v,) = ctx.saved_tensors
            g = g.flip(-1) if wrong else g
            return v @ (g[..., None] * v.mT)

    return Eigenvalues.apply


@pair(randn((5, 3), (4, 3)))
def pairwise_distance_at_zero(wrong):
    """d(x, x) = 0: the slope is 0/0."""

    class Distance(Function):
        @staticmethod
        def forward(ctx, a, b):
            d = (a[:, None] - b[None]).square().sum(-1).sqrt()
            ctx.save_for_backward(a, b, d)
            return d

        @staticmethod
        def backward(ctx, g):
            a, b, d = ctx.saved_tensors
            w = g / d if wrong else torch.where(d == 0, 0.0, g / d.clamp_min(1e-30))
            diff = (a[:, None] - b[None]) * w[..., None]
            return diff.sum(1), -diff.sum(0)

    return Distance.apply


@pair(randn((5, 3), (4, 3)))
def squared_distance_of_second_not_summed(wrong):
    class Distance(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return (a[:, None] - b[None]).square().sum(-1)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            diff = 2 * (a[:, None] - b[None]) * g[..., None]
            return diff.sum(1), -(diff[0] if wrong else diff.sum(0))

    return Distance.apply


@pair(lambda seed: torch.randn(5, dtype=torch.complex128))
def complex_square_without_conjugate(wrong):
    class Square(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z * z

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * 2 * (z if wrong else z.conj())

    return Square.apply


@pair(lambda seed: torch.randn(2, 4, dtype=torch.cfloat))
def complex_modulus_halved(wrong):
    class Modulus(Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z.real**2 + z.imag**2

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * z if wrong else 2 * g * z

    return Modulus.apply


@pair(lambda seed: torch.randn(3, 8))
def real_fourier_doubled_ends(wrong):
    """rfft: the adjoint does not count the mirrored half twice."""

    class Power(Function):
        @staticmethod
        def forward(ctx, x):
            s = torch.fft.rfft(x)
            ctx.save_for_backward(s)
            ctx.n = x.shape[-1]
            return s.abs() ** 2

        @staticmethod
        def backward(ctx, g):
            (s,) = ctx.saved_tensors
            full = torch.zeros(*g.shape[:-1], ctx.n, dtype=s.dtype)
            full[..., : s.shape[-1]] = 2 * g * s
            d = torch.fft.ifft(full).real * ctx.n
            if wrong:
                d = torch.fft.irfft(2 * g * s, n=ctx.n) * ctx.n
            return d

    return Power.apply


def sparse(seed):
    torch.manual_seed(seed)
    return torch.randn(4, 5).relu().to_sparse(), torch.randn(5, 3, requires_grad=True)


@pair(sparse)
def sparse_product_transposed_columns(wrong):
    class SparseMM(Function):
        @staticmethod
        def forward(ctx, a, x):
            ctx.a = a
            return a @ x

        @staticmethod
        def backward(ctx, g):
            d = ctx.a.to_dense().mT @ g
            return None, d.flip(0) if wrong else d

    return SparseMM.apply


@pair(randn((4, 3), (3, 5)))
def einsum_outer_swapped(wrong):
    class Outer(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return torch.einsum("ij,jk->ijk", a, b)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            da = torch.einsum("ijk,jk->ij", g, b)
            db = torch.einsum("ijk,ij->jk", g, a)
            return da, db if not wrong else db / len(a) * 4

    return Outer.apply


@pair(lambda seed: torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=torch.float64))
def covariance_off_diagonal_half(wrong):
    """A symmetric 2 x 2 kept as (a, b, c): b stands for two entries."""

    class Det(Function):
        @staticmethod
        def forward(ctx, s):
            p = torch.stack([s[0, 0], s[0, 1], s[1, 1]])
            ctx.save_for_backward(p)
            return p[0] * p[2] - p[1] ** 2

        @staticmethod
        def backward(ctx, g):
            a, b, c = ctx.saved_tensors[0]
            d = torch.zeros(2, 2, dtype=g.dtype)
            d[0, 0], d[1, 1] = c, a
            d[0, 1] = -b if wrong else -2 * b
            return g * d

    def f(s):
        return Det.apply(s * torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=s.dtype))

    return f


@pair(doubles((3, 4, 4), (3, 4, 2)))
def batched_product_of_first_matrix(wrong):
    class Bmm(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            da = g @ b.mT
            db = (a[:1] if wrong else a).mT @ g
            return da, db

    return Bmm.apply
