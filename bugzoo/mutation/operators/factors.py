"""Products and powers: a factor that is missing, wrong, or there twice."""

import ast

from bugzoo.mutation.edit import replace
from bugzoo.mutation.match import call, number
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.operators.terms import aside
from bugzoo.mutation.scope import Scope


def is_product(node: Node, *ops: type) -> bool:
    """A product, or another binary operation of the kinds `ops`."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ops or (ast.Mult,))


@operator(
    imitates="https://github.com/ddbourgin/numpy-ml/issues/94",
    channel="value",
    on=("backward", "step"),
    equivalent="the factor is 1, as an untrained scale is",
    examples=[
        ("dx = g * y * (1 - y)", "dx = g * y"),
        ("dx = g * y", "dx = y"),
        ("dx = (g * y).sum(-1)", "dx = g.sum(-1)"),
        ("dx = g[2 * n]", None),
    ],
)
def drop_factor(node: Node, scope: Scope) -> Edits:
    """A factor is forgotten: the mask, the scale, the inner derivative, the cotangent."""
    if is_product(node) and not aside(node, scope):
        yield replace(node, "{0}", node.left)
        yield replace(node, "{0}", node.right)


@operator(
    imitates="https://github.com/karpathy/nanoGPT/issues/206",
    channel="value",
    on=("backward", "step"),
    equivalent="the divisor is 1, or an optimizer that ignores the scale follows",
    examples=[("dx = g * dx / len(x)", "dx = g * dx"), ("n //= 2", None)],
)
def drop_divisor(node: Node, scope: Scope) -> Edits:
    """A mean is treated as a sum, or a norm is forgotten."""
    if is_product(node, ast.Div) and not aside(node, scope):
        yield replace(node, "{0}", node.left)


@operator(
    imitates="https://github.com/nerfstudio-project/gsplat/pull/139",
    channel="value",
    on=("backward", "step"),
    equivalent="the factor is 1 or -1",
    examples=[("da = g / b", "da = g * b"), ("dx = g * w", "dx = g / w")],
)
def invert_factor(node: Node, scope: Scope) -> Edits:
    """Times for over, or over for times."""
    if is_product(node, ast.Mult, ast.Div) and not aside(node, scope):
        symbol = "/" if isinstance(node.op, ast.Mult) else "*"
        yield replace(node, f"{{0}} {symbol} {{1}}", node.left, node.right)


@operator(
    imitates="https://github.com/sony/nnabla/pull/1120",
    channel="value",
    on=("backward", "step"),
    equivalent="the factor is 1, or a mask of zeros and ones",
    examples=[
        ("dx = g * w", "dx = g * w * w"),
        ("dx = g / std", "dx = g / std / std"),
        ("dx = g * (1 - y)", "dx = g * (1 - y) * (1 - y)"),
    ],
)
def repeat_factor(node: Node, scope: Scope) -> Edits:
    """A factor is applied twice."""
    product = is_product(node, ast.Mult, ast.Div) and not aside(node, scope)
    if product and not isinstance(node.right, ast.Call):
        symbol = "*" if isinstance(node.op, ast.Mult) else "/"
        yield replace(node, f"{{0}} {symbol} {{1}} {symbol} {{1}}", node.left, node.right)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the factor is 0",
    examples=[("dx = g * w", "dx = g + w"), ("dx = g / (1 + x)", None)],
)
def sum_for_product(node: Node, scope: Scope) -> Edits:
    """The chain rule adds where it should multiply."""
    if is_product(node) and not aside(node, scope):
        yield replace(node, "{0} + {1}", node.left, node.right)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the base is 0 or 1",
    examples=[
        ("dx = g * k * x ** (k - 1)", "dx = g * k * x ** k"),
        ("dx = g * y**2", "dx = g * y"),
        ("dx = g * y**3", "dx = g * y**2"),
        ("dx = g * y.pow(3)", "dx = g * y.pow(2)"),
        ("dx = g * y.square()", "dx = g * y"),
    ],
)
def power_off_by_one(node: Node, scope: Scope) -> Edits:
    """x**n for x**(n - 1), or the exponent one too small."""
    if is_product(node, ast.Pow):
        exponent, value = node.right, number(node.right)
        if isinstance(exponent, ast.BinOp) and isinstance(exponent.op, ast.Sub | ast.Add):
            yield replace(exponent, "{0}", exponent.left)
        elif value == 2:
            yield replace(node, "{0}", node.left)
        elif value is not None:
            yield replace(exponent, f"{value - 1}")
        else:
            yield replace(exponent, "{0} - 1", exponent)
    power = call(node, "pow")
    if power and power.args and (exponent := number(power.args[0])) is not None:
        yield replace(power.args[0], f"{exponent - 1}")
    square = call(node, "square")
    if square and square.of is not None:
        yield replace(node, "{0}", square.of)


@operator(
    imitates="taught",
    channel="value",
    on=("backward", "step"),
    equivalent="the value is 0 or 1",
    examples=[
        ("dx = g / var.sqrt()", "dx = g / var"),
        ("dx = g * torch.rsqrt(var)", "dx = g / var"),
        ("dx = g * x ** -0.5", "dx = g / x"),
    ],
)
def forget_root(node: Node, scope: Scope) -> Edits:
    """The variance stands where the standard deviation belongs."""
    root = call(node, "sqrt")
    if root and root.of is not None:
        yield replace(node, "{0}", root.of)
    if is_product(node) and (inverse := call(node.right, "rsqrt")) and inverse.of is not None:
        yield replace(node, "{0} / {1}", node.left, inverse.of)
    if is_product(node) and is_product(node.right, ast.Pow) and number(node.right.right) == -0.5:
        yield replace(node, "{0} / {1}", node.left, node.right.left)


@operator(
    imitates="https://github.com/meta-pytorch/opacus/issues/511",
    channel="value",
    on=("backward", "step"),
    equivalent="the constant enters nowhere, as an epsilon beside large values",
    examples=[
        ("dx = g * (1 - y)", "dx = g * (2 - y)"),
        ("dx = 0.5 * g", "dx = g"),
        ("dx = g.sum(-1)", None),
        ("dx = g / (x + 1e-5)", "dx = g / (x + 0.01)"),
        ("dx = g / 2", "dx = g"),
    ],
)
def wrong_constant(node: Node, scope: Scope) -> Edits:
    """A number of the formula is wrong."""
    value = number(node)
    if not value or aside(node, scope) or isinstance(node, ast.UnaryOp):
        return
    parent = scope.parent(node)
    sign = isinstance(parent, ast.UnaryOp)
    holder = scope.parent(parent) if sign else parent
    if not isinstance(holder, ast.BinOp) or isinstance(holder.op, ast.Pow) or sign:
        return
    scales = is_product(holder, ast.Mult, ast.Div)
    if scales and holder.right is node:
        yield replace(holder, "{0}", holder.left)
    elif scales and is_product(holder):
        yield replace(holder, "{0}", holder.right)
    if abs(value) < 1e-2:
        yield replace(node, f"{value * 1e3:g}")
    elif isinstance(value, int):
        yield replace(node, f"{value + 1}")
    else:
        yield replace(node, f"{1.1 * value:.3g}")


@operator(
    imitates="https://github.com/google-research/vmoe/pull/218",
    channel="value",
    on=("backward",),
    equivalent="the guarded value is far from zero on every probe",
    examples=[
        ("dx = g / (std + 1e-5)", "dx = g / std"),
        ("dx = g / (var + EPS).sqrt()", "dx = g / var.sqrt()"),
        ("dx = g / x.clamp(min=1e-6)", "dx = g / x"),
    ],
)
def drop_epsilon(node: Node, scope: Scope) -> Edits:
    """The guard of the forward is missing in the backward."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        value = number(node.right)
        named = isinstance(node.right, ast.Name) and node.right.id.lower() == "eps"
        if named or (value is not None and 0 < value < 1e-3):
            yield replace(node, "{0}", node.left)
    guard = call(node, "clamp", "clamp_min", "maximum", "clip")
    least = guard and (guard.keyword("min") or (guard.args and guard.args[0]))
    value = number(getattr(least, "value", least) if least else None)
    if isinstance(least, ast.keyword):
        value = number(least.value)
    if guard and guard.of is not None and value is not None and 0 < value < 1e-3:
        yield replace(node, "{0}", guard.of)
