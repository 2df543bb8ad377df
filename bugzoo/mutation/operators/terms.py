"""Sums: a path of the chain rule that is missing, or has the wrong sign."""

import ast

from bugzoo.mutation.edit import replace
from bugzoo.mutation.match import call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

SUMS = (ast.Add, ast.Sub)


def is_sum(node: Node) -> bool:
    """A sum or a difference that is arithmetic, not an index."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, SUMS)


def aside(node: Node, scope: Scope) -> bool:
    """Is the node part of an index, x[n + 1], or of a number that is only reported, loss.item() / 2?"""
    child = node
    for parent in scope.above(node):
        if isinstance(parent, ast.Subscript) and child is not parent.value:
            return True
        if isinstance(parent, ast.stmt) and not hasattr(parent, "body"):
            return scope.kind == "step" and any(call(n, "item") for n in ast.walk(parent))
        child = parent
    return False


@operator(
    imitates="https://github.com/mlpack/mlpack/pull/2474",
    channel="value",
    on=("backward", "step"),
    equivalent="the term is zero on the domain, as sums of centred values are",
    examples=[
        ("dx = g - y * row", "dx = g"),
        ("dx = (g - x - y * row) / w", "dx = (g - x) / w"),
        ("dx = x - g", "dx = -g"),
        ("dx = g[n + 1]", None),
    ],
)
def drop_term(node: Node, scope: Scope) -> Edits:
    """One path of the chain rule is forgotten."""
    if is_sum(node) and not aside(node, scope):
        yield replace(node, "{0}", node.left)
        yield replace(node, "-{0}" if isinstance(node.op, ast.Sub) else "{0}", node.right)


@operator(
    imitates="https://github.com/mlpack/mlpack/issues/2360",
    channel="value",
    on=("backward", "step"),
    equivalent="the second term is zero",
    examples=[
        ("dx = g - y * row", "dx = g + y * row"),
        ("dx = g - (x + y)", "dx = g + (x + y)"),
        (
            "dx = (\n    x  # the direct path\n    + y\n)",
            "dx = (\n    x  # the direct path\n    - y\n)",
        ),
    ],
)
def flip_sign(node: Node, scope: Scope) -> Edits:
    """Plus for minus."""
    if is_sum(node) and not aside(node, scope):
        sign = "-" if isinstance(node.op, ast.Add) else "+"
        yield replace(node, f"{{0}} {sign} {{1}}", node.left, node.right)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the function is used where its sign does not matter, in an even power",
    examples=[("dx = g * (1 - y)", "dx = g * (y - 1)"), ("dx = x - y - g", "dx = g - (x - y)")],
)
def reverse_difference(node: Node, scope: Scope) -> Edits:
    """a - b for b - a: the gradient of a loss then points uphill."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and not aside(node, scope):
        yield replace(node, "{0} - {1}", node.right, node.left)


@operator(
    imitates="https://github.com/graphdeco-inria/gaussian-splatting/issues/551",
    channel="value",
    on=("backward", "step"),
    equivalent="the negated value is zero, or enters in an even power",
    examples=[
        ("db = -g * y / b", "db = g * y / b"),
        ("dx = x ** -2", None),
        ("dx = g.sum(-1)", None),
    ],
)
def drop_negation(node: Node, scope: Scope) -> Edits:
    """A minus sign is lost."""
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    if negative and not isinstance(node.operand, ast.Constant):
        yield replace(node, "{0}", node.operand)


@operator(
    imitates="taught",
    channel="value",
    on=("backward",),
    equivalent="the gradient is zero",
    examples=[("return g * w, g * x", "return -g * w, g * x"), ("return dx", "return -dx")],
)
def negate_result(node: Node, scope: Scope) -> Edits:
    """The whole gradient has the wrong sign: ascent where descent is meant."""
    if node in scope.results and not isinstance(node, ast.UnaryOp):
        factor = node
        while isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Mult | ast.Div):
            factor = factor.left
        yield replace(factor, "-{0}", factor)


@operator(
    imitates="https://github.com/apache/mxnet/issues/1053",
    channel="value",
    on=("backward", "step"),
    equivalent="the term is zero",
    examples=[("dx = g - x - y * row", "dx = g - x - y * row - y * row")],
)
def repeat_term(node: Node, scope: Scope) -> Edits:
    """A path is counted twice."""
    if is_sum(node) and not aside(node, scope):
        sign = "-" if isinstance(node.op, ast.Sub) else "+"
        yield replace(node, f"{{0}} {sign} {{1}} {sign} {{1}}", node.left, node.right)
