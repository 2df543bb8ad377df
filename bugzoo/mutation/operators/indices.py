"""Indices, slices and writes: who gets what, and whether it is added."""

import ast

from bugzoo.mutation.edit import replace, swap
from bugzoo.mutation.match import call, is_none, number, renamed
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.operators.terms import aside
from bugzoo.mutation.scope import Scope

ACCUMULATING = {
    "index_add_": "index_copy_",
    "index_add": "index_copy",
    "scatter_add_": "scatter_",
    "scatter_add": "scatter",
}
OTHER_SIDE: dict[int | float | None, int] = {-1: -2, -2: -1, 0: -1, 1: 0}


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/1631",
    channel="value",
    on=("backward",),
    equivalent="no index occurs twice",
    examples=[
        ("dx.index_add_(0, i, g)", "dx.index_copy_(0, i, g)"),
        ("dx.index_put_((i,), g, accumulate=True)", "dx.index_put_((i,), g, accumulate=False)"),
        ("dx = x.new_zeros(3).scatter_add(0, i, g)", "dx = x.new_zeros(3).scatter(0, i, g)"),
        ("np.add.at(dx, i, g)", "dx[i] = g"),
    ],
)
def overwrite_for_add(node: Node, scope: Scope) -> Edits:
    """Of several contributions to one place the last one wins."""
    made = call(node, *ACCUMULATING)
    if made and made.keyword("alpha") is None:
        yield renamed(node, ACCUMULATING[made.name])
    put = call(node, "index_put_", "index_put")
    given = put and (put.keyword("accumulate") or (put.args[2] if len(put.args) > 2 else None))
    value = given.value if isinstance(given, ast.keyword) else given
    if isinstance(value, ast.Constant) and value.value is True:
        yield replace(value, "False")
    at = isinstance(node, ast.Expr) and call(node.value, "at")
    if at and ast.unparse(at.node.func).endswith("add.at") and len(at.node.args) == 3:
        yield replace(node, "{0}[{1}] = {2}", *at.node.args)


@operator(
    imitates="https://github.com/NVIDIA/TransformerEngine/issues/3437",
    channel="value",
    on=("backward", "step"),
    equivalent="there is one contribution, or the sum starts at zero",
    examples=[
        ("dw += x * g", "dw = x * g"),
        ("self.grad += out.grad", "self.grad = out.grad"),
        ("dx[i] += g", "dx[i] = g"),
    ],
)
def assign_for_add(node: Node, scope: Scope) -> Edits:
    """`=` for `+=`: the second use of a tensor wipes out the first."""
    added = isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub)
    if added and not aside(node.value, scope):
        sign = "" if isinstance(node.op, ast.Add) else "-"
        yield replace(node, f"{{0}} = {sign}{{1}}", node.target, node.value)


@operator(
    imitates="https://github.com/fla-org/flash-linear-attention/issues/1140",
    channel="value",
    on=("backward", "step"),
    equivalent="the end that moves holds zeros, or nothing",
    examples=[
        ("dx = g[n + 1]", "dx = g[n]"),
        ("dx = g[1:]", "dx = g[0:]"),
        ("dx[:-1] = g[1:]", "dx[:-2] = g[1:]"),
        ("dx = g[:, 2]", "dx = g[:, 1]"),
        ("for n in range(1, 5):\n    dx = g", "for n in range(0, 5):\n    dx = g"),
    ],
)
def index_off_by_one(node: Node, scope: Scope) -> Edits:
    """One element too early or too late."""
    if isinstance(node, ast.Subscript):
        for part in node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]:
            ends = [part.lower, part.upper] if isinstance(part, ast.Slice) else [part]
            for end in ends:
                yield from _earlier(end)
    if span := call(node, "range"):
        for end in span.node.args:
            yield from _earlier(end)


def _earlier(end: ast.expr | None) -> Edits:
    """2 -> 1, n + 1 -> n, n - 1 -> n."""
    value = number(end)
    if value and end is not None:
        yield replace(end, f"{value - 1}")
    elif isinstance(end, ast.BinOp) and abs(number(end.right) or 0) == 1:
        yield replace(end, "{0}", end.left)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/1813",
    channel="value",
    on=("backward",),
    equivalent="both axes have length 1",
    examples=[
        ("dx = g[:, None] * w", "dx = g[None, :] * w"),
        ("dx = g.unsqueeze(-1) * w", "dx = g.unsqueeze(-2) * w"),
        ("dx = g[..., None] * w", "dx = g[..., None, :] * w"),
    ],
)
def wrong_new_axis(node: Node, scope: Scope) -> Edits:
    """The new axis of length 1 is on the wrong side."""
    made = call(node, "unsqueeze", "expand_dims")
    if made and made.axis is not None and number(made.axis) in OTHER_SIDE:
        yield replace(made.axis, f"{OTHER_SIDE[number(made.axis)]}")
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        parts = node.slice.elts
        if len(parts) == 2 and is_none(parts[1]):
            if isinstance(parts[0], ast.Slice) and ast.unparse(parts[0]) == ":":
                yield replace(node, "{0}[None, :]", node.value)
            elif isinstance(parts[0], ast.Constant) and parts[0].value is ...:
                yield replace(node, "{0}[..., None, :]", node.value)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/1813",
    channel="value",
    on=("backward",),
    equivalent="the shapes broadcast alike without it",
    examples=[
        ("dx = g[:, None] * w", "dx = g * w"),
        ("dx = g.unsqueeze(-1) * w", "dx = g * w"),
        ("dx = g[..., None] * w", "dx = g * w"),
        ("dx = g[0]", None),
    ],
)
def drop_new_axis(node: Node, scope: Scope) -> Edits:
    """The cotangent meets the wrong axis."""
    made = call(node, "unsqueeze", "expand_dims")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)
    if isinstance(node, ast.Subscript):
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        whole = all(
            is_none(p)
            or (isinstance(p, ast.Slice) and ast.unparse(p) == ":")
            or (isinstance(p, ast.Constant) and p.value is ...)
            for p in parts
        )
        if whole and any(map(is_none, parts)):
            yield replace(node, "{0}", node.value)


@operator(
    imitates="https://github.com/proger/accelerated-scan/pull/15",
    channel="value",
    on=("backward",),
    equivalent="the sequence reads the same backwards, or has one element",
    examples=[
        ("dx = g.flip(-1).cumsum(-1).flip(-1)", "dx = g.cumsum(-1).flip(-1)"),
        ("dx = torch.roll(g, -1, 0)", "dx = g"),
        ("for n in reversed(order):\n    n.pull()", "for n in order:\n    n.pull()"),
    ],
)
def drop_reversal(node: Node, scope: Scope) -> Edits:
    """A backward scan that runs forwards."""
    made = call(node, "flip", "fliplr", "flipud", "roll", "reversed")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="https://github.com/proger/accelerated-scan/pull/15",
    channel="value",
    on=("backward",),
    equivalent="the sequence has one element",
    examples=[("dx = g.cumsum(-1)", "dx = g"), ("dx = torch.cumsum(g * y, 0)", "dx = g * y")],
)
def drop_scan(node: Node, scope: Scope) -> Edits:
    """What earlier (or later) elements contribute is lost."""
    made = call(node, "cumsum", "cumprod", "logcumsumexp")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/180642",
    channel="value",
    on=("backward",),
    equivalent="the parts are equal",
    examples=[
        ("a, b = g.chunk(2, -1)", "b, a = g.chunk(2, -1)"),
        ("return torch.cat([x, y], -1)", "return torch.cat([y, x], -1)"),
        ("a, b = x.shape", None),
    ],
)
def swap_parts(node: Node, scope: Scope) -> Edits:
    """Two halves change places."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        elements = node.targets[0].elts
        if len(elements) == 2 and call(node.value, "chunk", "split", "unbind", "tensor_split"):
            yield swap(*elements)
    joined = call(node, "cat", "stack", "concat", "concatenate", "hstack")
    if joined and isinstance(joined.of, ast.List | ast.Tuple) and len(joined.of.elts) == 2:
        yield swap(*joined.of.elts)


@operator(
    imitates="https://github.com/joeyan/gaussian_splatting/issues/35",
    channel="value",
    on=("backward",),
    equivalent="nothing is left for the last round",
    examples=[
        (
            "for n in range(0, len(x), 4):\n    dw += g",
            "for n in range(0, len(x) - 4, 4):\n    dw += g",
        ),
        ("for n in range(len(x)):\n    dw += g", "for n in range(len(x) - 1):\n    dw += g"),
    ],
)
def lose_last_round(node: Node, scope: Scope) -> Edits:
    """The last block, which may be a partial one, is left out."""
    span = call(node, "range")
    if span and isinstance(scope.parent(node), ast.For):
        stop = span.node.args[0] if len(span.node.args) == 1 else span.node.args[1]
        if number(stop) is None:
            if len(span.node.args) == 3:
                yield replace(stop, "{0} - {1}", stop, span.node.args[2])
            else:
                yield replace(stop, "{0} - 1", stop)
