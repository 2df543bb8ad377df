"""Comparisons, masks and branches: which elements take part."""

import ast

from bugzoo.mutation.edit import replace, swap
from bugzoo.mutation.match import call, number, renamed
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

BOUNDARY: dict[type, str] = {ast.Gt: ">=", ast.GtE: ">", ast.Lt: "<=", ast.LtE: "<"}
OPPOSITE: dict[type, str] = {
    ast.Gt: "<=",
    ast.GtE: "<",
    ast.Lt: ">=",
    ast.LtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
}


def comparison(node: Node, table: dict[type, str]) -> str | None:
    """The symbol that `table` has for the node's one comparison, or None."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return table.get(type(node.ops[0]))
    return None


@operator(
    imitates="https://github.com/pytorch/ao/pull/4806",
    channel="value",
    on=("backward", "step"),
    equivalent="nothing lies on the boundary, or both values are subgradients there",
    examples=[("return g * (x > 0)", "return g * (x >= 0)"), ("m = x == 0", None)],
)
def compare_boundary(node: Node, scope: Scope) -> Edits:
    """The boundary belongs to the other side."""
    symbol = comparison(node, BOUNDARY)
    if symbol:
        yield replace(node, f"{{0}} {symbol} {{1}}", node.left, node.comparators[0])


@operator(
    imitates="https://github.com/eriklindernoren/PyTorch-YOLOv3/pull/313",
    channel="value",
    on=("backward", "step"),
    equivalent="the comparison decides nothing",
    examples=[
        ("return g * (x > 0)", "return g * (x <= 0)"),
        ("dx = g.masked_fill(~mask, 0)", "dx = g.masked_fill(mask, 0)"),
        (
            'if ctx.reduction == "mean":\n    g = g / 2',
            'if ctx.reduction != "mean":\n    g = g / 2',
        ),
        ("if not keep:\n    g = g / 2", "if keep:\n    g = g / 2"),
    ],
)
def negate_compare(node: Node, scope: Scope) -> Edits:
    """The condition is the wrong way round."""
    symbol = comparison(node, OPPOSITE)
    if symbol:
        yield replace(node, f"{{0}} {symbol} {{1}}", node.left, node.comparators[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        yield replace(node, "{0}", node.operand)


@operator(
    imitates="https://github.com/microsoft/nni/pull/3160",
    channel="value",
    on=("backward",),
    equivalent="the mask hides nothing",
    examples=[
        ("dx = torch.where(x > 0, g, 0.0)", "dx = g"),
        ("dx = g.masked_fill(x < 0, 0)", "dx = g"),
        ("a = a.tril()\nreturn a", "return a"),
    ],
)
def drop_mask(node: Node, scope: Scope) -> Edits:
    """Elements that should be left out take part."""
    chosen = call(node, "where")
    if chosen and len(chosen.args) == 2:
        yield replace(node, "{0}", chosen.args[0])
    hidden = call(node, "masked_fill", "masked_fill_", "tril", "triu")
    if hidden and hidden.of is not None:
        yield replace(node, "{0}", hidden.of)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the branches are equal",
    examples=[
        ("dx = torch.where(x > 0, g, a * g)", "dx = torch.where(x > 0, a * g, g)"),
        ("dx = g if keep else y", "dx = y if keep else g"),
    ],
)
def swap_branches(node: Node, scope: Scope) -> Edits:
    """The two values of a choice are exchanged."""
    chosen = call(node, "where")
    if chosen and len(chosen.args) == 2:
        yield swap(*chosen.args)
    if isinstance(node, ast.IfExp):
        yield swap(node.body, node.orelse)


@operator(
    imitates="https://github.com/state-spaces/mamba/issues/368",
    channel="value",
    on=("backward", "module"),
    equivalent="the mask hides nothing",
    examples=[
        ('s = s.masked_fill(m, float("-inf"))', "s = s.masked_fill(m, 0.0)"),
        ("s = s.masked_fill(m, -torch.inf)", "s = s.masked_fill(m, 0.0)"),
    ],
)
def zero_for_infinity(node: Node, scope: Scope) -> Edits:
    """A masked score of 0 is no mask before a softmax: exp(0) is 1."""
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    if negative and isinstance(node.operand, ast.Attribute) and node.operand.attr == "inf":
        yield replace(node, "0.0")
    made = call(node, "float")
    if made and isinstance(made.of, ast.Constant) and made.of.value in ("-inf", "-infinity"):
        yield replace(node, "0.0")


@operator(
    imitates="taught",
    channel="value",
    on=("backward",),
    equivalent="the matrix is diagonal",
    examples=[("a = a.tril()", "a = a.triu()"), ("a = torch.triu(a, 1)", "a = torch.tril(a, 1)")],
)
def swap_triangle(node: Node, scope: Scope) -> Edits:
    """The other triangle: the future for the past."""
    made = call(node, "tril", "triu")
    if made:
        yield renamed(node, "triu" if made.name == "tril" else "tril")


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/171704",
    channel="value",
    on=("backward",),
    equivalent="the diagonals beside the main one are zero",
    examples=[
        ("a = a.tril()", "a = a.tril(-1)"),
        ("a = a.tril(-1)", "a = a.tril()"),
        ("a = torch.triu(a, 1)", "a = torch.triu(a)"),
    ],
)
def shift_diagonal(node: Node, scope: Scope) -> Edits:
    """The diagonal itself is in, or out, by mistake."""
    made = call(node, "tril", "triu")
    if made and made.of is not None and isinstance(node.func, ast.Attribute):
        step = -1 if made.name == "tril" else 1
        if made.args and number(made.args[0]) == step:
            method = made.node.args != [made.of, *made.args]
            shorter = "{0}()" if method else "{0}({1})"
            yield replace(node, shorter, node.func, *(() if method else (made.of,)))
        elif not made.args:
            method = not made.node.args
            longer = f"{{0}}({step})" if method else f"{{0}}({{1}}, {step})"
            yield replace(node, longer, node.func, *(() if method else (made.of,)))


@operator(
    imitates="https://github.com/pytorch/ao/pull/4806",
    channel="value",
    on=("backward", "step"),
    equivalent="no value reaches the bound",
    examples=[("y = x.clamp(max=20.0)", "y = x"), ("y = np.clip(x, 0, 1)", "y = x")],
)
def drop_clamp(node: Node, scope: Scope) -> Edits:
    """The bound of the forward is missing here."""
    made = call(node, "clamp", "clip", "clamp_min", "clamp_max")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/23156",
    channel="contract",
    on=("backward",),
    equivalent="the hidden branch is finite",
    examples=[("dx = torch.where(m, y * x.log(), 0.0)", "dx = y * x.log() * m")],
)
def multiply_for_where(node: Node, scope: Scope) -> Edits:
    """A mask by multiplication: 0 * inf is NaN."""
    chosen = call(node, "where")
    if chosen and chosen.of and len(chosen.args) == 2 and number(chosen.args[1]) == 0:
        yield replace(node, "{0} * {1}", chosen.args[0], chosen.of)
