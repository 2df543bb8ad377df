"""The wrong name: another variable, another function."""

import ast

from bugzoo.mutation.edit import after, replace
from bugzoo.mutation.match import call, on_operand, renamed
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

TWINS = {
    "sin": "cos", "cos": "sin", "sinh": "cosh", "cosh": "sinh", "exp": "expm1", "expm1": "exp",
    "log": "log1p", "log1p": "log", "tanh": "sigmoid", "sigmoid": "tanh", "max": "min",
    "min": "max", "amax": "amin", "amin": "amax", "maximum": "minimum", "minimum": "maximum",
    "softmax": "log_softmax", "log_softmax": "softmax", "floor": "ceil", "ceil": "floor",
    "erf": "erfc", "erfc": "erf", "abs": "sign", "sign": "abs", "std": "var", "var": "std",
    "argmax": "argmin", "argmin": "argmax", "cumsum": "cumprod", "cumprod": "cumsum",
}  # fmt: skip
FUNCTIONS = (
    "exp", "log", "sin", "cos", "tanh", "sigmoid", "softmax", "log_softmax", "abs", "sign", "sqrt",
    "expm1", "log1p", "reciprocal", "softplus", "erf", "relu", "round",
)  # fmt: skip


@operator(
    imitates="https://github.com/fla-org/flash-linear-attention/issues/155",
    channel="value",
    on=("backward",),
    equivalent="the two hold the same values",
    examples=[
        ("dx = g * w", "dx = g * x"),
        ("dx, dy = 1, 2\nreturn dx, dy", "dx, dy = 1, 2\nreturn dx, dx"),
        ("dx, dy = 1, 2\nreturn dx, dy", "dx, dy = 1, 2\nreturn dy, dy"),
    ],
)
def wrong_variable(node: Node, scope: Scope) -> Edits:
    """A neighbour's name, of the saved tensors or of the gradients."""
    if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
        return
    returned = list(dict.fromkeys(e.id for e in scope.results if isinstance(e, ast.Name)))
    for group in (scope.saved, returned):
        if node.id in group and (group is scope.saved or node in scope.results):
            at = group.index(node.id)
            for other in group[at - 1 : at] or group[at + 1 : at + 2]:
                yield replace(node, other)
    if node.id in scope.saved:
        at = scope.saved.index(node.id)
        for other in scope.saved[at + 1 : at + 2]:
            yield replace(node, other)


@operator(
    imitates="https://github.com/joeyan/gaussian_splatting/issues/35",
    channel="value",
    on=("backward",),
    equivalent="the two hold the same values",
    examples=[("return g * y, g * x", "return x * y, g * x")],
)
def saved_for_cotangent(node: Node, scope: Scope) -> Edits:
    """A saved tensor stands where the cotangent belongs."""
    if isinstance(node, ast.Name) and scope.is_cotangent(node) and scope.saved:
        factors = scope.parent(node)
        near = {n.id for n in ast.walk(factors) if isinstance(n, ast.Name)}
        for other in scope.saved:
            if other not in near and isinstance(factors, ast.BinOp):
                yield replace(node, other)
                return


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the two agree on the domain",
    examples=[
        ("dx = g * torch.cos(x)", "dx = g * torch.sin(x)"),
        ("dx = g * x.exp()", "dx = g * x.expm1()"),
    ],
)
def wrong_function(node: Node, scope: Scope) -> Edits:
    """A function's twin."""
    made = call(node, *TWINS)
    if made and isinstance(node.func, ast.Attribute):
        yield renamed(node, TWINS[made.name])


@operator(
    imitates="taught",
    channel="value",
    on=("backward",),
    equivalent="the function is the identity on the domain",
    examples=[("dx = g * torch.cos(x)", "dx = g * x"), ("dx = g * x.exp()", "dx = g * x")],
)
def forget_function(node: Node, scope: Scope) -> Edits:
    """The inner function is forgotten."""
    made = call(node, *FUNCTIONS)
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="taught",
    channel="value",
    on=("backward",),
    equivalent="the function is its own inverse, or the identity, on the domain",
    examples=[
        (
            "(y,) = ctx.saved_tensors\nreturn g * (1 - y * y)",
            "(y,) = ctx.saved_tensors\ny = torch.tanh(y)\nreturn g * (1 - y * y)",
        ),
    ],
)
def apply_twice(node: Node, scope: Scope) -> Edits:
    """The saved output is taken for the input, and goes through the function again."""
    forward = scope.sibling("forward", "forward")
    if node is not scope.unpacking or forward is None:
        return
    for inner in forward.nodes():
        if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
            made, name = call(inner.value, *FUNCTIONS), inner.targets[0].id
            if made and made.of is not None and name in scope.saved:
                template, holes = on_operand(made, name)
                yield after(node, f"{name} = {template}", *holes)
