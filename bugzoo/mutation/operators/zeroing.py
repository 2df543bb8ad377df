"""Training steps: when gradients are set to zero."""

import ast

from bugzoo.mutation.edit import before, delete, replace
from bugzoo.mutation.match import statement_call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


def first(scope: Scope, name: str) -> ast.stmt | None:
    """The first statement of the function that is a call of `name`."""
    found = (n for n in scope.nodes() if isinstance(n, ast.stmt) and statement_call(n, name))
    return next(found, None)


@operator(
    imitates="https://github.com/IBM/aihwkit/issues/446",
    channel="trajectory",
    on="step",
    equivalent="one step only, or the gradients are made new elsewhere",
    examples=[
        ("self.optimizer.zero_grad()\nloss.backward()", "loss.backward()"),
        ("loss.backward()", None),
    ],
)
def drop_zero_grad(node: Node, scope: Scope) -> Edits:
    """Every step uses the sum of all gradients so far."""
    if statement_call(node, "zero_grad"):
        yield delete(node)


@operator(
    imitates="https://github.com/cloneofsimo/lora/issues/263",
    channel="trajectory",
    on="step",
    equivalent="never: the step sees zeros",
    examples=[
        (
            "self.optimizer.zero_grad()\nloss.backward()\nself.optimizer.step()",
            "loss.backward()\nself.optimizer.zero_grad()\nself.optimizer.step()",
        )
    ],
)
def zero_grad_after_backward(node: Node, scope: Scope) -> Edits:
    """The gradients are wiped out just before they are used."""
    zero, step = first(scope, "zero_grad"), first(scope, "step")
    if node is zero and step is not None and step in scope.later(zero):
        yield delete(zero) + before(step, "{0}", zero)


@operator(
    imitates="https://github.com/gaozhihan/PreDiff/issues/32",
    channel="trajectory",
    on="step",
    equivalent="there is one micro-batch",
    examples=[
        (
            "self.optimizer.zero_grad()\nfor part in parts:\n    loss.backward()",
            "for part in parts:\n    self.optimizer.zero_grad()\n    loss.backward()",
        )
    ],
)
def zero_grad_each_micro(node: Node, scope: Scope) -> Edits:
    """Only the last micro-batch's gradient reaches the step."""
    backward = first(scope, "backward")
    if statement_call(node, "zero_grad") and backward is not None:
        loops = scope.loops(backward)
        if loops and backward in loops[0].body and node not in loops[0].body:
            inside = loops[0].body[0]
            yield delete(node) + before(inside, "{0}", node)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/58511",
    channel="trajectory",
    on="step",
    equivalent="every parameter has a gradient at every step",
    examples=[
        (
            "self.optimizer.zero_grad()\nloss.backward()",
            "self.optimizer.zero_grad(set_to_none=False)\nloss.backward()",
        ),
        ("self.model.zero_grad(set_to_none=False)", "self.model.zero_grad()"),
    ],
)
def zeros_for_none(node: Node, scope: Scope) -> Edits:
    """Zeros instead of None: momentum and decay then move parameters that took no part."""
    zero = statement_call(node, "zero_grad")
    if zero and isinstance(zero.node.func, ast.Attribute):
        extra = "" if zero.keyword("set_to_none") else "set_to_none=False"
        yield replace(zero.node, f"{{0}}({extra})", zero.node.func)


@operator(
    imitates="https://github.com/mlpack/mlpack/pull/1933",
    channel="trajectory",
    on="step",
    equivalent="the other gradients are never read",
    examples=[
        (
            "for opt in self.opts:\n    opt.zero_grad()\nloss.backward()",
            "self.opts[0].zero_grad()\nloss.backward()",
        ),
    ],
)
def zero_first_only(node: Node, scope: Scope) -> Edits:
    """Of several optimizers only the first one's gradients are set to zero."""
    if isinstance(node, ast.For) and len(node.body) == 1 and isinstance(node.target, ast.Name):
        zero = statement_call(node.body[0], "zero_grad")
        if zero and isinstance(zero.of, ast.Name) and zero.of.id == node.target.id:
            yield replace(node, "{0}[0].zero_grad()", node.iter)
