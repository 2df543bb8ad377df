"""Writing into what was only lent: the cotangent, saved tensors, the input."""

import ast

from bugzoo.mutation.edit import replace
from bugzoo.mutation.match import call, renamed
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

METHODS = {ast.Mult: "mul_", ast.Add: "add_", ast.Sub: "sub_", ast.Div: "div_"}
IN_PLACE = (
    "clamp", "relu", "tanh", "sigmoid", "exp", "log", "sqrt", "masked_fill", "abs", "square",
    "softmax", "leaky_relu", "dropout", "neg", "sin", "cos",
)  # fmt: skip


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/81417",
    channel="side_effect",
    on=("backward",),
    equivalent="the written values are those that were there",
    examples=[
        ("return g * (x > 0)", "return g.mul_(x > 0)"),
        ("return g * y * (1 - y)", "return g.mul_(y) * (1 - y)"),
        ("da = g / b", "da = g.div_(b)"),
        ("return y * g", "return g.mul_(y)"),
    ],
)
def inplace_cotangent(node: Node, scope: Scope) -> Edits:
    """A scratch write into the cotangent, which another branch may share."""
    yield from _written(node, scope.cotangents)


@operator(
    imitates="https://github.com/linkedin/Liger-Kernel/issues/254",
    channel="side_effect",
    on=("backward",),
    equivalent="the written values are those that were there",
    examples=[
        ("return y * (1 - y) * g", "return y.mul_(1 - y) * g"),
        ("return g * y", "return y.mul_(g)"),
    ],
)
def inplace_saved(node: Node, scope: Scope) -> Edits:
    """The memory of a saved tensor is used for the result."""
    yield from _written(node, set(scope.saved))


def _written(node: Node, names: set[str]) -> Edits:
    """a * b -> a.mul_(b) where a is one of `names`; b.mul_(a) where b is, if the two commute."""
    if isinstance(node, ast.BinOp) and type(node.op) in METHODS:
        method = METHODS[type(node.op)]
        commute = isinstance(node.op, ast.Mult | ast.Add)
        if isinstance(node.left, ast.Name) and node.left.id in names:
            yield replace(node, f"{{0}}.{method}({{1}})", node.left, node.right)
        elif commute and isinstance(node.right, ast.Name) and node.right.id in names:
            yield replace(node, f"{{0}}.{method}({{1}})", node.right, node.left)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/5871",
    channel="side_effect",
    on=("forward", "module"),
    equivalent="the operand is a fresh tensor that nobody else holds",
    examples=[
        ("y = x.clamp(min=0)", "y = x.clamp_(min=0)"),
        ("y = torch.tanh(x)", "y = torch.tanh_(x)"),
        ("y = F.relu(x)", "y = F.relu_(x)"),
    ],
)
def inplace_function(node: Node, scope: Scope) -> Edits:
    """The forward writes its result into its input."""
    made = call(node, *IN_PLACE)
    torchs = made and made.name not in ("softmax", "dropout", "square", "log", "leaky_relu")
    if made and isinstance(node.func, ast.Attribute) and isinstance(made.of, ast.Name) and torchs:
        yield renamed(node, f"{made.name}_")


@operator(
    imitates="https://github.com/pytorch/pytorch/pull/178315",
    channel="side_effect",
    on=("backward", "step", "module"),
    equivalent="nobody else holds the tensor",
    examples=[
        ("g = g / len(x)", "g /= len(x)"),
        ("h = h * w", "h *= w"),
        ("h = w * h", None),
    ],
)
def augmented_assignment(node: Node, scope: Scope) -> Edits:
    """`g = g / n` becomes `g /= n`, which writes into a tensor that was only lent."""
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
        target, value = node.targets[0], node.value
        symbol = {ast.Mult: "*", ast.Div: "/", ast.Add: "+", ast.Sub: "-"}.get(type(value.op))
        same = isinstance(target, ast.Name) and ast.unparse(target) == ast.unparse(value.left)
        if symbol and same and len(node.targets) == 1:
            yield replace(node, f"{{0}} {symbol}= {{1}}", target, value.right)
