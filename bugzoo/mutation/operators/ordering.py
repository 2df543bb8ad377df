"""Training steps: the order of backward, step and schedule."""

import ast
from collections.abc import Callable

from bugzoo.mutation.edit import after, before, delete
from bugzoo.mutation.match import call, statement_call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


def optimizer_step(node: Node) -> bool:
    """`optimizer.step()`, not `scheduler.step()`."""
    return statement_call(node, "step") is not None and not scheduler_step(node)


def scheduler_step(node: Node) -> bool:
    """`scheduler.step()`."""
    made = statement_call(node, "step")
    return bool(made and made.of is not None and "sched" in ast.unparse(made.of).lower())


def neighbour(scope: Scope, node: Node, wanted: Callable[[Node], bool]) -> ast.stmt | None:
    """The first later statement of the same block that `wanted` accepts."""
    return next((s for s in scope.later(node) if wanted(s)), None)


@operator(
    imitates="taught",
    channel="trajectory",
    on="step",
    equivalent="the gradients are those of the batch before: never",
    examples=[
        ("loss.backward()\nself.optimizer.step()", "self.optimizer.step()\nloss.backward()"),
    ],
)
def step_before_backward(node: Node, scope: Scope) -> Edits:
    """The update uses the gradients of the batch before."""
    if any(call(n, "backward") for n in ast.walk(node)) and isinstance(node, ast.stmt):
        step = neighbour(scope, node, optimizer_step) if node is not scope.function else None
        if step is not None:
            yield delete(step) + before(node, "{0}", step)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/115607",
    channel="trajectory",
    on="step",
    equivalent="another step is made elsewhere",
    examples=[("loss.backward()\nself.optimizer.step()", "loss.backward()")],
)
def drop_step(node: Node, scope: Scope) -> Edits:
    """No parameter ever moves."""
    if optimizer_step(node):
        yield delete(node)


@operator(
    imitates="taught",
    channel="trajectory",
    on="step",
    equivalent="the learning rate is 0",
    examples=[("self.optimizer.step()", "self.optimizer.step()\nself.optimizer.step()")],
)
def double_step(node: Node, scope: Scope) -> Edits:
    """The update is made twice, as when a helper makes it too."""
    if optimizer_step(node):
        yield after(node, "{0}", node)


@operator(
    imitates="taught",
    channel="trajectory",
    on="step",
    equivalent="the schedule is constant",
    examples=[
        (
            "self.optimizer.step()\nself.scheduler.step()",
            "self.scheduler.step()\nself.optimizer.step()",
        )
    ],
)
def schedule_before_step(node: Node, scope: Scope) -> Edits:
    """The schedule is one step ahead of the optimizer: seen at its first milestone."""
    if optimizer_step(node):
        schedule = neighbour(scope, node, scheduler_step)
        if schedule is not None:
            yield delete(schedule) + before(node, "{0}", schedule)


@operator(
    imitates="https://github.com/keras-team/keras/pull/19998",
    channel="trajectory",
    on="step",
    equivalent="the schedule is constant, or there is one micro-batch",
    examples=[
        (
            "for part in parts:\n    loss.backward()\nself.optimizer.step()\nself.scheduler.step()",
            "for part in parts:\n    loss.backward()\n    self.scheduler.step()\nself.optimizer.step()",
        )
    ],
)
def schedule_each_micro(node: Node, scope: Scope) -> Edits:
    """The schedule counts micro-batches."""
    if scheduler_step(node):
        block = scope.block(node)
        for loop in block[: block.index(node)]:
            if isinstance(loop, ast.For) and any(call(n, "backward") for n in ast.walk(loop)):
                last = loop.body[-1]
                yield delete(node) + after(last, "{0}", node)
