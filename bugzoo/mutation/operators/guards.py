"""Conditions and statements: what is done, and when."""

import ast

from bugzoo.mutation.edit import delete, replace, unwrap
from bugzoo.mutation.match import attribute, number
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.operators.terms import aside
from bugzoo.mutation.scope import Scope


def needed(node: Node) -> ast.Constant | None:
    """The slot where the node is `ctx.needs_input_grad[slot]`, else None."""
    asked = isinstance(node, ast.Subscript) and attribute(node.value, "needs_input_grad")
    return node.slice if asked and isinstance(node.slice, ast.Constant) else None


@operator(
    imitates="https://github.com/cornellius-gp/gpytorch/pull/1322",
    channel="contract",
    on=("backward",),
    equivalent="all inputs require grad, or none",
    examples=[
        ("if ctx.needs_input_grad[1]:\n    dw = g", "if ctx.needs_input_grad[0]:\n    dw = g"),
        ("if ctx.needs_input_grad[0]:\n    dw = g", "if ctx.needs_input_grad[1]:\n    dw = g"),
    ],
)
def wrong_slot(node: Node, scope: Scope) -> Edits:
    """Another input decides whether this gradient is computed."""
    slot = needed(node)
    if slot is not None:
        yield replace(slot, f"{int(number(slot) or 2) - 1}")


@operator(
    imitates="https://github.com/huggingface/transformers/issues/21381",
    channel="contract",
    on=("backward",),
    equivalent="the gradient is computed in vain: its cost is all that changes",
    examples=[("if ctx.needs_input_grad[1]:\n    dw = g", "dw = g")],
)
def ignore_needs_grad(node: Node, scope: Scope) -> Edits:
    """The gradient is computed whether anyone wants it or not."""
    if isinstance(node, ast.If) and needed(node.test) is not None and not node.orelse:
        yield unwrap(node, node.body)


@operator(
    imitates="https://github.com/mlpack/mlpack/pull/2474",
    channel="value",
    on=("backward", "step"),
    equivalent="the statement changes nothing that is used",
    examples=[
        ("dx = g * w\ndx += y\nreturn dx", "dx = g * w\nreturn dx"),
        ("p[i] = 0\nreturn p", "return p"),
        ("g = g / len(x)\nreturn g", "return g"),
        ("dx = g * w\nreturn dx", None),
    ],
)
def drop_statement(node: Node, scope: Scope) -> Edits:
    """A line that corrects an earlier value is missing."""
    corrects = isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and (
            isinstance(node.targets[0], ast.Subscript)
            or (
                isinstance(node.targets[0], ast.Name)
                and any(
                    isinstance(n, ast.Name) and n.id == node.targets[0].id
                    for n in ast.walk(node.value)
                )
            )
        )
    )
    if corrects and not aside(node.value, scope):
        yield delete(node)


@operator(
    imitates="https://github.com/ml-explore/mlx/pull/3692",
    channel="value",
    on=("backward", "step"),
    equivalent="the condition never holds",
    examples=[
        ("if m:\n    g = g / 2\nreturn g", "return g"),
        ("if m:\n    g = g / 2\nelse:\n    g = g / 3\nreturn g", "g = g / 3\nreturn g"),
    ],
)
def never_branch(node: Node, scope: Scope) -> Edits:
    """The special case is not treated."""
    if isinstance(node, ast.If) and needed(node.test) is None:
        yield unwrap(node, node.orelse) if node.orelse else delete(node)


@operator(
    imitates="https://github.com/fla-org/flash-linear-attention/pull/6",
    channel="value",
    on=("backward", "step"),
    equivalent="the condition always holds",
    examples=[
        ("if m:\n    g = g / 2\nreturn g", "g = g / 2\nreturn g"),
        ("if m:\n    g = g / 2\nelse:\n    g = g / 3\nreturn g", "g = g / 2\nreturn g"),
    ],
)
def always_branch(node: Node, scope: Scope) -> Edits:
    """The special case is taken for the general one."""
    if isinstance(node, ast.If) and needed(node.test) is None:
        yield unwrap(node, node.body)
