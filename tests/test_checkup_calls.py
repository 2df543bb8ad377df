"""Calls as programs make them, and what the checkup says of each: names, causes, one finding a defect."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner
from torch.autograd import Function
from torch.autograd.function import once_differentiable

import bugzoo
from bugzoo.checkup.structure import opened
from bugzoo.cli.check import command


class Product(Function):
    """x @ w; `Wrong` doubles one gradient."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g


class Wrong(Product):
    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, 2 * x.T @ g


class Pair(NamedTuple):
    x: torch.Tensor
    w: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Batch:
    x: torch.Tensor
    rest: dict


def x_and_w():
    gen = torch.Generator().manual_seed(0)
    return torch.randn(4, 5, generator=gen), torch.randn(5, 3, generator=gen)


def shapes():
    """(function of a Function's apply, inputs, the name of w in it)."""
    x, w = x_and_w()
    return {
        "dict": (lambda f: lambda batch: f(batch["x"], batch["w"]), {"x": x, "w": w}, "batch['w']"),
        "keywords": (lambda f: lambda x, w: f(x, w), {"x": x, "w": w}, "w"),
        "keywords at the end": (lambda f: lambda x, *, w: f(x, w), (x, {"w": w}), "w"),
        "named tuple": (lambda f: lambda p: f(p.x, p.w), (Pair(x, w),), "p.w"),
        "dataclass": (
            lambda f: lambda b: f(b.x, b.rest["w"][0][1]),
            Batch(x, {"w": [[None, w]]}),
            "b.rest['w'][0][1]",
        ),
    }


@pytest.mark.parametrize("shape", shapes())
def test_structures_are_opened_and_their_leaves_named(shape):
    """The wrong one by the name in the program, the right one passes."""
    build, inputs, name = shapes()[shape]

    found = bugzoo.check(build(Wrong.apply), inputs)

    assert [f.where.rpartition("[")[0] for f in found.findings] == [name], str(found)
    assert bugzoo.check(build(Product.apply), inputs).ok


def test_a_plain_row_is_left_alone():
    """No wrapper, no names: the function itself."""

    def fn(x, w):
        return x @ w

    assert opened(fn, x_and_w())[0] is fn


def test_a_structure_is_closed_as_it_was():
    """Types, keys and what is no tensor come back."""
    x, w = x_and_w()
    seen = []
    call, row, names = opened(lambda b: seen.append(b), (Batch(x, {"w": (w, None), "n": 3}),))
    call(*row)

    assert seen[0].rest["w"][0] is w and seen[0].rest["w"][1] is None and seen[0].rest["n"] == 3
    assert names == {0: "b.x", 1: "b.rest['w'][0]", 2: "b.rest['w'][1]", 3: "b.rest['n']"}


OPS = """
import torch
from torch.autograd import Function


class Wrong(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0]


def fn(batch):
    return Wrong.apply(batch["x"])


def inputs(seed):
    return {"x": torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))}
"""


def test_the_command_takes_a_batch(tmp_path):
    """`bugzoo check FILE::FN --inputs FILE::MAKER` with a maker of dicts."""
    (tmp_path / "ops.py").write_text(OPS)
    done = CliRunner().invoke(command, [f"{tmp_path}/ops.py::fn", "--inputs", "inputs"])

    assert done.exit_code == 1
    assert "batch['x']" in done.output


def test_the_fixture_takes_a_batch(tmp_path):
    """`check_backward(fn, maker)` likewise."""
    (tmp_path / "test_ops.py").write_text(
        OPS + "\n\ndef test_backward(check_backward):\n    check_backward(fn, inputs)\n"
    )
    root = Path(__file__).parent.parent
    options = ["-p", "no:cacheprovider", "-p", "bugzoo.pytest_plugin", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_ops.py"],
        cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(root), "PATH": ""},
    )  # fmt: skip

    assert "batch['x']" in done.stdout, done.stdout + done.stderr


def test_curvature_is_no_kink():
    """In float32 a step is wide: one-sided slopes differ, and no kink is told."""

    class Cube(Function):  # works in float32 alone
        @staticmethod
        def forward(ctx, x):
            assert x.dtype == torch.float32
            ctx.save_for_backward(x)
            return (3 * x).exp()

        @staticmethod
        def backward(ctx, g):
            return 3 * g * (3 * ctx.saved_tensors[0]).exp()

    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    curved, bent = bugzoo.check(Cube.apply, (x,)), bugzoo.check(lambda x: x.relu(), (x,))

    assert curved.ok and not any("kink" in n.what for n in curved.notes), str(curved)
    assert any("kink" in n.what for n in bent.notes), str(bent)


def test_once_differentiable_is_not_advised_twice():
    """Where it stands already, the note says so."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    notes = bugzoo.check(Square.apply, (torch.randn(3, 4),)).notes

    assert not any("mark the backward" in n.what for n in notes)
    assert any("marked once_differentiable" in n.what for n in notes)


def test_one_defect_is_one_finding():
    """What a buffer that is handed out brings about stands beside it."""

    kept = {}

    class Shared(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.tanh()

        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0]
            out = kept.setdefault((x.shape, x.dtype), torch.empty_like(x))
            return torch.mul(g, 1 - x.tanh() ** 2, out=out)

    found = bugzoo.check(Shared.apply, (torch.randn(3, 4),))

    assert len(found.findings) == 1, str(found)
    assert "handed out" in found.findings[0].what
    assert found.findings[0].also and "also:" in str(found)


def test_a_flag_by_default_is_tried():
    """The other value of a keyword that the caller left alone."""

    def wrong(x, *, scaled=True):
        return x.tanh() if scaled else x.tanh() * x.data

    found = bugzoo.check(wrong, (torch.randn(3, 4),))

    assert [f.variation for f in found.findings] == ["scaled = False"], str(found)
    assert bugzoo.check(lambda x, *, scaled=True: x * (2 if scaled else 1), (torch.ones(3),)).ok


def test_a_wide_loss_of_narrow_inputs_passes():
    """A loss in float32 of logits in bfloat16: the gradient has the digits of the logits."""

    class Loss(Function):
        @staticmethod
        def forward(ctx, x, t):
            ctx.save_for_backward(x, t)
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return torch.nn.functional.cross_entropy(wide, t)

        @staticmethod
        def backward(ctx, g):
            x, t = ctx.saved_tensors
            p = x.to(torch.promote_types(x.dtype, torch.float32)).softmax(-1)
            return (g * (p - torch.eye(x.shape[-1]).to(p)[t]) / len(x)).to(x.dtype), None

    gen = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, generator=gen).bfloat16()

    found = bugzoo.check(Loss.apply, (x, torch.tensor([0, 1, 2, 4])))

    assert found.ok, str(found)
