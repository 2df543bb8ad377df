"""Right gradients whose own derivative is wrong: the graph of the backward is cut."""

import ast

from bugzoo.mutation.edit import replace, wrap
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/58509",
    channel="second_order",
    on=("backward",),
    equivalent="no second derivative is promised: the first is equal by construction",
    examples=[
        ("return g * x", "return g * x.detach()"),
        ("dx = g * (x + y)", "dx = g * (x.detach() + y)"),
    ],
)
def detach_saved(node: Node, scope: Scope) -> Edits:
    """A saved tensor is taken for a constant."""
    if isinstance(node, ast.Name) and node.id in scope.saved and first_factor(node, scope):
        yield replace(node, "{0}.detach()", node)


def first_factor(node: Node, scope: Scope) -> bool:
    """Is this the first place where the name is an operand?"""
    operands = (
        n
        for n in scope.nodes()
        if isinstance(n, ast.Name) and n.id == node.id and isinstance(scope.parent(n), ast.BinOp)
    )
    return next(operands, None) is node


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/99523",
    channel="second_order",
    on=("backward",),
    equivalent="no second derivative is promised: the first is equal by construction",
    examples=[
        ("return g * x, None", "return (g * x).detach(), None"),
        ("return dx", "return dx.detach()"),
    ],
)
def detach_result(node: Node, scope: Scope) -> Edits:
    """The gradient is handed out without its graph."""
    if node in scope.results and scope.g:
        yield replace(node, "{0}.detach()", node)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/76185",
    channel="second_order",
    on=("backward",),
    equivalent="no second derivative is promised: the first is equal by construction",
    examples=[
        (
            "(x,) = ctx.saved_tensors\n# the chain rule\nreturn g * x",
            "(x,) = ctx.saved_tensors\nwith torch.no_grad():\n    # the chain rule\n    return g * x",
        )
    ],
)
def no_grad_backward(node: Node, scope: Scope) -> Edits:
    """The whole backward runs without recording."""
    if node is scope.function and scope.g and scope.torch:
        body = scope.body[1:] if scope.unpacking is scope.body[0] else scope.body
        yield wrap("with torch.no_grad():", body)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/6990",
    channel="second_order",
    on=("backward",),
    equivalent="no second derivative is promised: the first is equal by construction",
    examples=[("dx = g * x", "dx = g.data * x")],
)
def cotangent_data(node: Node, scope: Scope) -> Edits:
    """`.data` of the cotangent: its own graph is cut."""
    if isinstance(node, ast.Name) and node.id == scope.g and first_factor(node, scope):
        yield replace(node, "{0}.data", node)
