"""Memory order and sharing: right numbers that are read from the wrong place."""

import ast

from bugzoo.mutation.edit import before, replace
from bugzoo.mutation.match import call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


@operator(
    imitates="https://github.com/Dao-AILab/flash-attention/issues/355",
    channel="value",
    on=("backward",),
    equivalent="every cotangent that arrives is packed",
    examples=[
        (
            "return g * y",
            "g = g.as_strided(g.shape, g.new_empty(g.shape).stride())\nreturn g * y",
        )
    ],
)
def assume_packed(node: Node, scope: Scope) -> Edits:
    """The cotangent's memory is read as if it were contiguous, as a kernel given a pointer reads it."""
    if node is scope.function and scope.g and len(scope.parameters) == 1:
        g = scope.g
        packed = f"{g} = {g}.as_strided({g}.shape, {g}.new_empty({g}.shape).stride())"
        yield before(scope.start, packed)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/96693",
    channel="reentrancy",
    on=("backward", "forward", "step"),
    equivalent="nobody writes into the original afterwards",
    examples=[("return g.clone() * y", "return g * y"), ("h = x.copy()", "h = x")],
)
def drop_clone(node: Node, scope: Scope) -> Edits:
    """The copy that kept two owners apart is missing."""
    made = call(node, "clone", "copy", "deepcopy")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="https://github.com/pytorch/pytorch/pull/708",
    channel="value",
    on=("backward", "forward"),
    equivalent="nothing below reads raw memory: torch's own functions follow the strides",
    examples=[("g = g.contiguous()\nreturn g * y", "return g * y")],
)
def drop_contiguous(node: Node, scope: Scope) -> Edits:
    """The layout is no longer made regular."""
    made = call(node, "contiguous", "ascontiguousarray")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="https://github.com/torch/nn/pull/345",
    channel="value",
    on=("backward",),
    equivalent="the tensor is packed already, or has one axis",
    examples=[("dx = g.reshape(x.shape)", "dx = g.mT.reshape(x.shape)")],
)
def reshape_of_transpose(node: Node, scope: Scope) -> Edits:
    """The elements are laid out column by column before the reshape."""
    made = call(node, "reshape", "view", "flatten")
    method = made and isinstance(node.func, ast.Attribute) and node.func.value is made.of
    if made and method and isinstance(made.of, ast.Name):
        yield replace(made.of, "{0}.mT", made.of)
