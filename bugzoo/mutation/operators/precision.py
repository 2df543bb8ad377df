"""A narrower type on the way: right in exact arithmetic."""

import ast

from bugzoo.mutation.edit import after, replace
from bugzoo.mutation.match import call, on_operand
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


@operator(
    imitates="https://github.com/ISEEKYAN/Megatron-LM/issues/149",
    channel="value",
    on=("backward",),
    equivalent="the values are exact in 16 bits",
    examples=[
        ("dx = g @ w", "dx = (g.bfloat16() @ w.bfloat16()).to(g.dtype)"),
        ("db = g.sum(-2)", "db = g.bfloat16().sum(-2).to(g.dtype)"),
        ("n = sum(sizes)", None),
    ],
)
def low_precision_sum(node: Node, scope: Scope) -> Edits:
    """Products and sums are accumulated in bfloat16."""
    if not scope.g:
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        template = f"({{0}}.bfloat16() @ {{1}}.bfloat16()).to({scope.g}.dtype)"
        yield replace(node, template, node.left, node.right)
    reduction = call(node, "sum", "mean")
    if reduction and reduction.of is not None and isinstance(node.func, ast.Attribute):
        template, holes = on_operand(reduction, "{0}.bfloat16()", reduction.of)
        yield replace(node, f"{template}.to({scope.g}.dtype)", *holes)


@operator(
    imitates="https://github.com/NVIDIA/TransformerEngine/pull/3193",
    channel="value",
    on=("backward",),
    equivalent="the values are exact in the narrow type",
    examples=[
        ("return dx, dw", "return dx.half().to(g.dtype), dw"),
        ("return g * w", "return (g * w).half().to(g.dtype)"),
    ],
)
def low_precision_buffer(node: Node, scope: Scope) -> Edits:
    """The gradient passes through a 16-bit buffer."""
    if node in scope.results and scope.g:
        yield replace(node, f"{{0}}.half().to({scope.g}.dtype)", node)


@operator(
    imitates="https://github.com/linkedin/Liger-Kernel/pull/1329",
    channel="value",
    on=("backward",),
    equivalent="the saved values are exact in the narrow type",
    examples=[
        (
            "x, y = ctx.saved_tensors\nreturn g * y",
            "x, y = ctx.saved_tensors\ny = y.float()\nreturn g * y",
        ),
    ],
)
def low_precision_saved(node: Node, scope: Scope) -> Edits:
    """A saved tensor is read in single precision."""
    if node is scope.unpacking and scope.g:
        for name in scope.saved:
            yield after(node, f"{name} = {name}.float()")
