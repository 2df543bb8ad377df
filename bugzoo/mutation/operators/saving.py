"""What the forward keeps for the backward, and where."""

import ast

from bugzoo.mutation.edit import before, on_class, replace, swap
from bugzoo.mutation.match import call, names
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

SAVE = "save_for_backward"
METHODS = """\
@staticmethod
def forward(ctx, x):
    y = torch.tanh(x)
    {}
    return y

@staticmethod
def backward(ctx, g):
    {}
    return {}
"""


def inputs(scope: Scope) -> list[str]:
    """Names of the inputs: parameters of forward, or what setup_context unpacks."""
    if scope.name != "setup_context":
        return scope.parameters
    given = scope.parameters[0]
    assigned = [n for n in scope.nodes() if isinstance(n, ast.Assign) and given in names(n.value)]
    return [name for n in assigned for target in n.targets for name in sorted(names(target))]


def computed(scope: Scope) -> list[str]:
    """Names that the forward computes from its inputs."""
    if scope.name == "setup_context":
        return scope.parameters[1:]
    assigned = [n for n in scope.nodes() if isinstance(n, ast.Assign)]
    return [n.targets[0].id for n in assigned if isinstance(n.targets[0], ast.Name)]


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/25340",
    channel="memory",
    on=("forward",),
    equivalent="Python's collector finds the cycle: then only autograd's checks of versions are lost",
    examples=[
        (
            METHODS.format("ctx.save_for_backward(y)", "(y,) = ctx.saved_tensors", "g * y"),
            METHODS.format("ctx.y = y", "y = ctx.y", "g * y"),
        ),
        (
            METHODS.format("ctx.save_for_backward(x, y)", "x, y = ctx.saved_tensors", "g * y * x"),
            METHODS.format("ctx.saved = x, y", "x, y = ctx.saved", "g * y * x"),
        ),
    ],
)
def save_on_ctx(node: Node, scope: Scope) -> Edits:
    """Tensors are kept as attributes of ctx: an output kept there is a cycle."""
    backward = scope.sibling("backward", "backward")
    if not (call(node, SAVE) and backward and backward.unpacking):
        return
    saving, unpacking = scope.statement(node), backward.unpacking
    if len(node.args) == 1 and isinstance(node.args[0], ast.Name) and len(backward.saved) == 1:
        name, read = node.args[0].id, backward.saved[0]
        yield replace(saving, f"{scope.ctx}.{name} = {{0}}", node.args[0]) + replace(
            unpacking, f"{read} = {backward.ctx}.{name}"
        )
    elif len(node.args) > 1:
        listed = ", ".join(f"{{{n}}}" for n in range(len(node.args)))
        yield replace(saving, f"{scope.ctx}.saved = {listed}", *node.args) + replace(
            unpacking, f"{{0}} = {backward.ctx}.saved", unpacking.targets[0]
        )


@operator(
    imitates="taught",
    channel="reentrancy",
    on=("forward",),
    equivalent="there is never more than one call alive",
    examples=[
        (
            METHODS.format("ctx.save_for_backward(y)", "(y,) = ctx.saved_tensors", "g * y"),
            METHODS.format("Subject.saved = (y,)", "(y,) = Subject.saved", "g * y"),
        )
    ],
)
def save_on_class(node: Node, scope: Scope) -> Edits:
    """Tensors are kept on the class: of two calls alive at once the later one wins."""
    backward = scope.sibling("backward", "backward")
    if not (call(node, SAVE) and backward and backward.unpacking):
        return
    listed = ", ".join(f"{{{n}}}" for n in range(len(node.args)))
    listed = f"({listed},)" if len(node.args) == 1 else listed
    owner = scope.owner.name
    yield replace(scope.statement(node), f"{owner}.saved = {listed}", *node.args) + replace(
        backward.unpacking, f"{{0}} = {owner}.saved", backward.unpacking.targets[0]
    )


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/52241",
    channel="value",
    on=("forward",),
    equivalent="the operation leaves its input as it is",
    examples=[
        (
            "y = torch.tanh(x)\nctx.save_for_backward(y)\nreturn y",
            "y = torch.tanh(x)\nctx.save_for_backward(x)\nreturn y",
        ),
        ("ctx.save_for_backward(x)", None),
    ],
)
def save_input_for_output(node: Node, scope: Scope) -> Edits:
    """The formula is written in the output, and is fed the input."""
    kept = [a for a in node.args if isinstance(a, ast.Name)] if call(node, SAVE) else []
    for name in kept:
        if name.id in computed(scope) and inputs(scope):
            saved = {n.id for n in kept}
            others = [other for other in inputs(scope) if other not in saved]
            yield replace(name, (others or inputs(scope))[0])


@operator(
    imitates="taught",
    channel="value",
    on=("forward",),
    equivalent="only what input and output share is used: for relu both have one mask",
    examples=[
        (
            "y = torch.tanh(x)\nctx.save_for_backward(x)",
            "y = torch.tanh(x)\nctx.save_for_backward(y)",
        )
    ],
)
def save_output_for_input(node: Node, scope: Scope) -> Edits:
    """The formula is written in the input, and is fed what was computed from it."""
    kept = [a for a in node.args if isinstance(a, ast.Name)] if call(node, SAVE) else []
    for name in kept:
        if name.id in inputs(scope):
            saved = {n.id for n in kept}
            for other in computed(scope):
                if other not in saved:
                    yield replace(name, other)


@operator(
    imitates="https://github.com/cornellius-gp/gpytorch/pull/1322",
    channel="value",
    on=("backward",),
    equivalent="the two hold the same values",
    examples=[
        ("x, y = ctx.saved_tensors\nreturn g * y", "y, x = ctx.saved_tensors\nreturn g * y"),
        ("a, b, c = ctx.saved_tensors", "a, c, b = ctx.saved_tensors"),
    ],
)
def swap_saved(node: Node, scope: Scope) -> Edits:
    """Saved tensors are unpacked in another order than they were saved."""
    if node is scope.unpacking and isinstance(node.targets[0], ast.Tuple):
        elements = node.targets[0].elts
        for a, b in zip(elements, elements[1:]):
            yield swap(a, b)


@operator(
    imitates="https://github.com/dmlc/dgl/pull/1060",
    channel="memory",
    on=("backward",),
    equivalent="the list is emptied elsewhere",
    examples=[
        (
            METHODS.format("ctx.save_for_backward(y)", "(y,) = ctx.saved_tensors", "g * y"),
            "history = []\n\n"
            + METHODS.format(
                "ctx.save_for_backward(y)",
                "(y,) = ctx.saved_tensors\n    Subject.history.append(g)",
                "g * y",
            ),
        )
    ],
)
def keep_history(node: Node, scope: Scope) -> Edits:
    """Debugging left in: every cotangent is appended to a list on the class."""
    if node is scope.function and scope.g:
        line = f"{scope.owner.name}.history.append({scope.g})"
        yield on_class(scope, "history = []") + before(scope.start, line)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/96693",
    channel="reentrancy",
    on=("backward",),
    equivalent="the shapes and the values are always the same",
    examples=[
        (
            METHODS.format("ctx.save_for_backward(y)", "(y,) = ctx.saved_tensors", "g * y"),
            "buffers = {}\n\n"
            + METHODS.format(
                "ctx.save_for_backward(y)",
                "(y,) = ctx.saved_tensors",
                "Subject.buffers.setdefault(g.shape, torch.empty_like(g)).copy_(g * y)",
            ),
        )
    ],
)
def shared_buffer(node: Node, scope: Scope) -> Edits:
    """The gradient is handed out in a buffer that the next backward overwrites."""
    if node in scope.results and scope.g and isinstance(scope.parent(node), ast.Return):
        buffers, empty = f"{scope.owner.name}.buffers", scope.like("empty", scope.g)
        template = f"{buffers}.setdefault({scope.g}.shape, {empty}).copy_({{0}})"
        yield on_class(scope, "buffers = {{}}") + replace(node, template, node)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/115607",
    channel="reentrancy",
    on=("backward",),
    equivalent="the value never changes",
    examples=[
        (
            METHODS.format("ctx.save_for_backward(y)", "(y,) = ctx.saved_tensors", "g * (1 - y)"),
            "cache = {}\n\n"
            + METHODS.format(
                "ctx.save_for_backward(y)",
                "(y,) = ctx.saved_tensors",
                "g * Subject.cache.setdefault(g.shape, 1 - y)",
            ),
        )
    ],
)
def stale_cache(node: Node, scope: Scope) -> Edits:
    """A factor that does not depend on g is computed once for each shape, and never again."""
    products = ast.Mult | ast.MatMult | ast.Div
    if scope.g and isinstance(node, ast.BinOp) and isinstance(node.op, products):
        for side in (node.left, node.right):
            used = names(side)
            fixed = used & set(scope.saved) and not used - set(scope.saved) - {"torch", "F"}
            if fixed and not isinstance(side, ast.Constant):
                template = f"{scope.owner.name}.cache.setdefault({scope.g}.shape, {{0}})"
                yield on_class(scope, "cache = {{}}") + replace(side, template, side)
