"""Products of matrices: which side, which way round."""

import ast

from bugzoo.mutation.edit import replace, swap
from bugzoo.mutation.match import attribute, call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

TRANSPOSES = ("t", "transpose", "swapaxes", "swapdims", "permute", "adjoint")


def transposed(node: Node) -> ast.expr | None:
    """`e` where the node is some transpose of e, else None."""
    made = call(node, *TRANSPOSES)
    return attribute(node, "T", "mT", "H", "mH") or (made.of if made else None)


@operator(
    imitates="https://github.com/NVIDIA/warp/issues/147",
    channel="value",
    on=("backward", "step"),
    equivalent="the operand is symmetric, or has one row and one column",
    examples=[
        ("dx = g @ w.mT", "dx = g @ w"),
        ("dw = x.transpose(-1, -2) @ g", "dw = x @ g"),
        ("dw = torch.transpose(x, 0, 1) @ g", "dw = x @ g"),
        ("dx = g * (w + b).t()", "dx = g * (w + b)"),
    ],
)
def drop_transpose(node: Node, scope: Scope) -> Edits:
    """The Jacobian stands where its transpose belongs."""
    operand = transposed(node)
    if operand is not None:
        yield replace(node, "{0}", operand)


@operator(
    imitates="https://github.com/harvard-edge/cs249r_book/pull/1781",
    channel="value",
    on=("backward", "step"),
    equivalent="the matrix is symmetric",
    examples=[("dx = g @ w", "dx = g @ w.mT"), ("dx = w.mT @ g", None)],
)
def add_transpose(node: Node, scope: Scope) -> Edits:
    """One transpose too many: right in mathematics books that write vectors as columns."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        sides = (node.left, node.right)
        if not any(transposed(side) is not None for side in sides):
            for side in sides:
                if isinstance(side, ast.Name):
                    yield replace(side, "{0}.mT", side)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the operands commute",
    examples=[
        ("dw = x.mT @ g", "dw = g @ x.mT"),
        ("dx = torch.matmul(g, w.t())", "dx = torch.matmul(w.t(), g)"),
    ],
)
def swap_matmul(node: Node, scope: Scope) -> Edits:
    """The operands of a matrix product in the wrong order."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield swap(node.left, node.right)
    product = call(node, "matmul", "mm", "bmm", "dot")
    if product and product.of is not None and product.args:
        yield swap(product.of, product.args[0])


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the product is symmetric",
    examples=[
        ("dw = x.mT @ g", "dw = g.mT @ x"),
        ("dw = x @ g.T", "dw = g @ x.T"),
        ("dw = x @ g", None),
    ],
)
def transpose_product(node: Node, scope: Scope) -> Edits:
    """The outer product taken the wrong way round, so that dw is its own transpose."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        left, right = transposed(node.left), transposed(node.right)
        if left is not None and right is None:
            yield swap(left, node.right)
        elif right is not None and left is None:
            yield swap(node.left, right)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="a vector, or a matrix with one row",
    examples=[("dw = x.mT @ g", "dw = x.reshape(x.mT.shape) @ g"), ("y = (g * x).mT", None)],
)
def reshape_for_transpose(node: Node, scope: Scope) -> Edits:
    """A reshape to the transposed shape: the sizes fit, the elements are in the wrong order."""
    operand = transposed(node)
    if isinstance(operand, ast.Name):
        yield replace(node, "{0}.reshape({1}.shape)", operand, node)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="one of the operands is diagonal",
    examples=[("dx = g @ w.mT", "dx = g * w.mT"), ("y = x * g", None)],
)
def elementwise_for_matmul(node: Node, scope: Scope) -> Edits:
    """`*` for `@`: raises unless the shapes broadcast, as square ones do."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        yield replace(node, "{0} * {1}", node.left, node.right)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the result is symmetric in the two axes",
    examples=[
        ('dw = torch.einsum("nd,nk->dk", x, g)', 'dw = torch.einsum("nd,nk->kd", x, g)'),
        ('db = torch.einsum("nk->k", g)', None),
    ],
)
def permute_einsum(node: Node, scope: Scope) -> Edits:
    """The last two letters of an einsum's result in the wrong order."""
    made = call(node, "einsum")
    if made and isinstance(made.of, ast.Constant) and isinstance(made.of.value, str):
        source, arrow, result = made.of.value.partition("->")
        letters = result.strip()
        if arrow and len(letters) >= 2:
            swapped = letters[:-2] + letters[-1] + letters[-2]
            quote = scope.program.segment(made.of)[0]
            yield replace(made.of, f"{quote}{source}->{swapped}{quote}")
