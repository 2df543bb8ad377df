"""The graph that autograd records: cut where a gradient is wanted, open where it is not."""

import ast

from bugzoo.mutation.edit import after, replace, unwrap, wrap
from bugzoo.mutation.match import attribute, call, is_module
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


def tensor_name(node: Node, scope: Scope) -> bool:
    """Is this the name of a value in a forward that is read: not a module, a method or a callee?"""
    if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)) or is_module(node):
        return False
    if node.id in ("self", "cls", "super") or not isinstance(
        scope.parent(node), ast.BinOp | ast.Call | ast.Return
    ):
        return False
    parent = scope.parent(node)
    if scope.kind == "step" and node.id not in computed(scope):
        return False  # data: nothing above it wants a gradient
    return not (isinstance(parent, ast.Call) and parent.func is node)


def computed(scope: Scope) -> set[str]:
    """Names that the function assigns."""
    assigned = [t for n in scope.nodes() if isinstance(n, ast.Assign) for t in n.targets]
    return {t.id for t in assigned if isinstance(t, ast.Name)}


@operator(
    imitates="https://github.com/paiml/aprender/pull/2196",
    channel="value",
    on=("module", "step"),
    equivalent="no parameter and no input that wants a gradient lies above",
    examples=[
        ("return h + self.layer(h)", "return h + self.layer(h.detach())"),
        ("return h + self.layer(h)", "return h.detach() + self.layer(h)"),
        ("y = torch.cat([h, x])", None),
    ],
)
def detach_value(node: Node, scope: Scope) -> Edits:
    """A branch is cut off: what lies above it never learns."""
    if tensor_name(node, scope):
        yield replace(node, "{0}.detach()", node)


@operator(
    imitates="https://github.com/paiml/aprender/issues/3034",
    channel="value",
    on=("module",),
    equivalent="no parameter and no input that wants a gradient lies above",
    examples=[
        (
            "h = F.relu(x)\nreturn h",
            "h = F.relu(x)\nh = torch.from_numpy(h.detach().numpy())\nreturn h",
        )
    ],
)
def rewrap_tensor(node: Node, scope: Scope) -> Edits:
    """A tensor is made anew from raw numbers: the graph ends there."""
    named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    if named and scope.torch and isinstance(node.value, ast.Call | ast.BinOp):
        name = node.targets[0].id
        yield after(node, f"{name} = torch.from_numpy({name}.detach().numpy())")


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/80839",
    channel="value",
    on=("module",),
    equivalent="no parameter and no input that wants a gradient lies above",
    examples=[
        ("h = F.relu(x)\nreturn h", "with torch.no_grad():\n    h = F.relu(x)\nreturn h"),
    ],
)
def no_grad_block(node: Node, scope: Scope) -> Edits:
    """A block that was meant to be cheap is not recorded."""
    made = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call | ast.BinOp)
    if made and scope.torch:
        yield wrap("with torch.no_grad():", [node])


@operator(
    imitates="https://github.com/astariul/encode-attend-navigate-pytorch/pull/3",
    channel="value",
    on=("module", "step"),
    equivalent="nothing above wants a gradient",
    examples=[
        ("loss = (r - v.detach()) * logp", "loss = (r - v) * logp"),
        ("total += loss.item()", None),
    ],
)
def drop_detach(node: Node, scope: Scope) -> Edits:
    """A gradient flows where it was meant to stop."""
    made = call(node, "detach", "detach_", "stop_gradient")
    value = attribute(node, "data")
    if made and made.of is not None:
        yield replace(node, "{0}", made.of)
    elif value is not None and isinstance(node.ctx, ast.Load):
        yield replace(node, "{0}", value)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/5871",
    channel="value",
    on=("module", "step"),
    equivalent="nothing inside wants a gradient",
    examples=[("with torch.no_grad():\n    h = x * 2\nreturn h", "h = x * 2\nreturn h")],
)
def drop_no_grad(node: Node, scope: Scope) -> Edits:
    """What should not be recorded is: a frozen part is trained, or memory is kept."""
    block = isinstance(node, ast.With) and len(node.items) == 1
    if block and call(node.items[0].context_expr, "no_grad", "inference_mode"):
        yield unwrap(node, node.body)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/6990",
    channel="value",
    on=("module",),
    equivalent="the function's own backward does not use its output",
    examples=[("h = torch.tanh(x)\nreturn h", "h = torch.tanh(x)\nh.data.mul_(0.5)\nreturn h")],
)
def write_through_data(node: Node, scope: Scope) -> Edits:
    """A saved output is scaled through `.data`: no version counter moves, and no error is raised."""
    named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    if named and call(node.value, "tanh", "sigmoid", "exp", "softmax", "sqrt", "relu"):
        yield after(node, f"{node.targets[0].id}.data.mul_(0.5)")
