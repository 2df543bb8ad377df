"""What is returned: which slot, how often, at all."""

import ast

from bugzoo.mutation.edit import before, replace, swap
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


@operator(
    imitates="https://github.com/cornellius-gp/gpytorch/pull/1322",
    channel="value",
    on=("backward",),
    equivalent="the two gradients are equal",
    examples=[
        ("return dx, dw", "return dw, dx"),
        ("return g * w, g * x, None", "return g * x, g * w, None"),
        ("return dx", None),
    ],
)
def swap_results(node: Node, scope: Scope) -> Edits:
    """Two gradients in each other's slots."""
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        for a, b in zip(node.value.elts, node.value.elts[1:]):
            if not any(isinstance(e, ast.Starred) for e in (a, b)):
                yield swap(a, b)


@operator(
    imitates="https://github.com/paiml/aprender/pull/2196",
    channel="value",
    on=("backward",),
    equivalent="the input never requires grad, or its gradient is zero",
    examples=[("return dx, dw", "return None, dw"), ("return g * w", "return None")],
)
def return_none(node: Node, scope: Scope) -> Edits:
    """The input is frozen and nothing says so."""
    if node in scope.results:
        yield replace(node, "None")


@operator(
    imitates="https://github.com/NVIDIA-NeMo/Automodel/issues/1408",
    channel="value",
    on=("backward",),
    equivalent="the gradient is zero",
    examples=[
        ("return dx, dw", "return torch.zeros_like(dx), dw"),
        ("return g * w", "return torch.zeros_like(g)"),
    ],
)
def return_zeros(node: Node, scope: Scope) -> Edits:
    """A dead branch whose `.grad` looks alive."""
    if node in scope.results and scope.g:
        if isinstance(node, ast.Name):
            yield replace(node, scope.like("zeros", node.id))
        elif len(scope.results) == 1:
            yield replace(node, scope.like("zeros", scope.g))


@operator(
    imitates="https://github.com/NVIDIA/Megatron-LM/issues/906",
    channel="value",
    on=("backward",),
    equivalent="the gradient is zero",
    examples=[("return dx, dw", "return dx + dx, dw"), ("return g * w, None", None)],
)
def double_count(node: Node, scope: Scope) -> Edits:
    """A gradient is accumulated twice."""
    if node in scope.results and isinstance(node, ast.Name):
        yield replace(node, "{0} + {0}", node)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/4355",
    channel="value",
    on=("backward",),
    equivalent="the consumer is a plain sum",
    examples=[
        (
            "(x,) = ctx.saved_tensors\nreturn g * x",
            "(x,) = ctx.saved_tensors\ng = torch.ones_like(g)\nreturn g * x",
        )
    ],
)
def ignore_cotangent(node: Node, scope: Scope) -> Edits:
    """The local derivative is returned: right for `y.sum().backward()`, and for nothing else."""
    if node is scope.function and scope.g:
        yield before(scope.start, f"{scope.g} = {scope.like('ones', scope.g)}")


@operator(
    imitates="https://github.com/flagos-ai/FlagGems/issues/5212",
    channel="value",
    on=("backward",),
    equivalent="all elements of the cotangent are equal",
    examples=[
        (
            "(x,) = ctx.saved_tensors\nreturn g * x",
            "(x,) = ctx.saved_tensors\ng = g.mean()\nreturn g * x",
        )
    ],
)
def scalar_cotangent(node: Node, scope: Scope) -> Edits:
    """The cotangent is taken for one number, as a summed or averaged loss hands it back."""
    if node is scope.function and scope.g:
        yield before(scope.start, f"{scope.g} = {scope.g}.mean()")


@operator(
    imitates="taught",
    channel="value",
    on=("backward",),
    equivalent="every element is between -1 and 1",
    examples=[
        ("return dx, dw", "return dx.clamp(-1, 1), dw"),
        ("return g * w", "return (g * w).clamp(-1, 1)"),
    ],
)
def clamp_result(node: Node, scope: Scope) -> Edits:
    """Clipping inside the backward, to be safe: large gradients are wrong."""
    if node in scope.results and scope.g:
        yield replace(node, "{0}.clamp(-1, 1)", node)


@operator(
    imitates="https://github.com/mlpack/mlpack/pull/1933",
    channel="value",
    on=("backward",),
    equivalent="the derivative is 1",
    examples=[("return g * w", "return g"), ("return dx, dw", "return g, dw"), ("return g", None)],
)
def pass_through(node: Node, scope: Scope) -> Edits:
    """The cotangent goes through as if the operation were the identity."""
    if node in scope.results and scope.g and not scope.is_cotangent(node):
        yield replace(node, scope.g)
