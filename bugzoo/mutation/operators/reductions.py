"""Sums and means over axes: missing, over the wrong axis, or of the wrong kind."""

import ast

from bugzoo.mutation.edit import replace
from bugzoo.mutation.match import call, number, recalled, renamed
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

REDUCTIONS = ("sum", "mean", "amax", "max", "prod", "sum_to_size", "logsumexp")


@operator(
    imitates="https://github.com/tenstorrent/tt-metal/issues/40008",
    channel="value",
    on=("backward",),
    equivalent="the engine sums what is returned to the shape of the input: masked",
    examples=[
        ("db = g.sum(-2)", "db = g"),
        ("dx = g - y * (g * y).sum(-1, keepdim=True)", "dx = g - y * (g * y)"),
        ("db = torch.sum(g, 0)", "db = g"),
    ],
)
def drop_reduction(node: Node, scope: Scope) -> Edits:
    """The axes that the forward broadcast are not summed."""
    reduction = call(node, "sum", "mean", "sum_to_size", "prod", "amax")
    if reduction and reduction.of is not None:
        yield replace(node, "{0}", reduction.of)


@operator(
    imitates="https://github.com/paiml/aprender/pull/2182",
    channel="value",
    on=("backward", "step"),
    equivalent="the axis has length 1",
    examples=[
        ("db = g.sum(-2)", "db = g.mean(-2)"),
        ("row = (g * y).mean(-1, keepdim=True)", "row = (g * y).sum(-1, keepdim=True)"),
        ("n = sum(sizes)", None),
    ],
)
def swap_sum_mean(node: Node, scope: Scope) -> Edits:
    """Sum for mean, or mean for sum."""
    reduction = call(node, "sum", "mean")
    if reduction and isinstance(node.func, ast.Attribute):
        yield renamed(node, "mean" if reduction.name == "sum" else "sum")


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/1813",
    channel="value",
    on=("backward", "step"),
    equivalent="one row or one column: the shape that is lost broadcasts back",
    examples=[
        ("row = (g * y).sum(-1, keepdim=True)", "row = (g * y).sum(-1)"),
        ("row = np.sum(g * y, axis=1, keepdims=True)", "row = np.sum(g * y, axis=1)"),
    ],
)
def drop_keepdim(node: Node, scope: Scope) -> Edits:
    """A row's number meets the columns: raises unless the shapes happen to broadcast."""
    reduction = call(node, *REDUCTIONS, "std", "var", "norm", "min", "amin", "cumsum")
    kept = reduction and reduction.keyword("keepdim", "keepdims")
    if kept:
        yield recalled(node, without=(kept,))


@operator(
    imitates="https://github.com/flagos-ai/FlagGems/issues/5392",
    channel="value",
    on=("backward",),
    equivalent="the operand is square and symmetric",
    examples=[
        ("db = g.sum(-2)", "db = g.sum(-1)"),
        ("row = (g * y).sum(-1, keepdim=True)", "row = (g * y).sum(-2, keepdim=True)"),
        ("db = g.sum(0)", "db = g.sum(-1)"),
        ("p = torch.softmax(x, dim=1)", "p = torch.softmax(x, dim=0)"),
        ("db = g.sum((0, 1))", None),
    ],
)
def wrong_dim(node: Node, scope: Scope) -> Edits:
    """Over the rows for over the columns."""
    other: dict[int | float | None, int] = {-1: -2, -2: -1, 0: -1, 1: 0, 2: 1}
    made = call(node, *REDUCTIONS, "softmax", "log_softmax", "cumsum", "flip", "std", "var")
    made = made or call(node, "cat", "stack", "chunk", "gather", "roll", "argmax", "norm")
    axis = made.axis if made and made.name != "chunk" else made and made.args and made.args[-1]
    if axis and number(axis) in other:
        yield replace(axis, f"{other[number(axis)]}")


@operator(
    imitates="https://github.com/flagos-ai/FlagGems/pull/59",
    channel="value",
    on=("backward", "step"),
    equivalent="there is one row, or the rows are alike",
    examples=[
        ("mean_g = g.mean(-1, keepdim=True)", "mean_g = g.mean()"),
        ("db = torch.sum(g, 0)", "db = torch.sum(g)"),
        ("s = g.sum()", None),
    ],
)
def reduce_everything(node: Node, scope: Scope) -> Edits:
    """One number for the whole batch: rows leak into each other."""
    reduction = call(node, "sum", "mean", "amax", "prod")
    if reduction and isinstance(node.func, ast.Attribute):
        kept = (reduction.keyword("keepdim", "keepdims"), reduction.keyword("dim", "axis"))
        positional = tuple(reduction.args)
        if positional or kept[1]:
            yield recalled(node, without=(*positional, *(k for k in kept if k)))


@operator(
    imitates="https://github.com/TrenTorch/TrenTorch/pull/182",
    channel="value",
    on=("backward",),
    equivalent="the axis has length 1",
    examples=[
        ("db = g.sum(-2)", "db = g.select(-2, 0)"),
        ("row = (g * y).sum(-1, keepdim=True)", "row = (g * y).narrow(-1, 0, 1)"),
        ("db = g.sum(0)", "db = g[0]"),
        ("s = g.sum()", None),
    ],
)
def first_for_sum(node: Node, scope: Scope) -> Edits:
    """Only the first contribution arrives."""
    reduction = call(node, "sum", "mean")
    axis = reduction.axis if reduction else None
    if reduction is None or reduction.of is None or axis is None or number(axis) is None:
        return
    if reduction.keyword("keepdim"):
        yield replace(node, "{0}.narrow({1}, 0, 1)", reduction.of, axis)
    elif number(axis) == 0:
        yield replace(node, "{0}[0]", reduction.of)
    elif not reduction.keyword("axis"):
        yield replace(node, "{0}.select({1}, 0)", reduction.of, axis)


@operator(
    imitates="invented",
    channel="value",
    on=("backward",),
    equivalent="the axis has length 1",
    examples=[
        ("db = g.sum(-2)", "db = g.amax(-2)"),
        ("row = (g * y).mean(-1)", "row = (g * y).amax(-1)"),
    ],
)
def max_for_sum(node: Node, scope: Scope) -> Edits:
    """The largest contribution stands for all."""
    reduction = call(node, "sum", "mean")
    if reduction and reduction.axis is not None and isinstance(node.func, ast.Attribute):
        yield renamed(node, "amax")


@operator(
    imitates="taught",
    channel="value",
    on=("backward",),
    equivalent="the correction is lost in the count of elements",
    examples=[
        ("std = x.std(-1, correction=0, keepdim=True)", "std = x.std(-1, keepdim=True)"),
        ("v = x.var(-1, unbiased=False)", "v = x.var(-1)"),
    ],
)
def biased_for_unbiased(node: Node, scope: Scope) -> Edits:
    """Division by n - 1 in one pass, by n in the other."""
    spread = call(node, "std", "var")
    given = spread and spread.keyword("correction", "unbiased", "ddof")
    if given:
        yield recalled(node, without=(given,))
