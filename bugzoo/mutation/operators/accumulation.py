"""Training steps over micro-batches: which of them count, and how much."""

import ast

from bugzoo.mutation.edit import after, delete, replace, unwrap
from bugzoo.mutation.match import call, number, statement_call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope


@operator(
    imitates="https://github.com/huggingface/transformers/pull/34191",
    channel="trajectory",
    on="step",
    equivalent="all micro-batches have the same length",
    examples=[
        (
            "for part in parts:\n    loss = loss * len(part) / len(x)",
            "for part in parts:\n    loss = loss / len(parts)",
        ),
        ("loss = loss / 4", None),
    ],
)
def mean_of_means(node: Node, scope: Scope) -> Edits:
    """Every micro-batch weighs the same, however many rows it has."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, counted = node.left, _counted(scope, node)
        if isinstance(left, ast.BinOp) and call(left.right, "len") and counted:
            yield replace(node, f"{{0}} / len({counted})", left.left)


def _counted(scope: Scope, node: Node) -> str:
    """What the loop around the node runs over, as text; '' outside of loops."""
    loops = scope.loops(node)
    if not loops:
        return ""
    source = getattr(loops[0], "iter", None)
    while made := call(source, "zip", "enumerate") if source else None:
        source = made.of
    return ast.unparse(source) if source is not None else ""


@operator(
    imitates="https://github.com/rasbt/LLMs-from-scratch/pull/300",
    channel="trajectory",
    on="step",
    equivalent="the window has one micro-batch",
    examples=[
        (
            "if (n + 1) % k == 0:\n    self.optimizer.step()",
            "if n % k == 0:\n    self.optimizer.step()",
        ),
        (
            "if n % k == 0:\n    self.optimizer.step()",
            "if (n + 1) % k == 0:\n    self.optimizer.step()",
        ),
    ],
)
def window_off_by_one(node: Node, scope: Scope) -> Edits:
    """The window closes one micro-batch too early or too late."""
    remainder = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
    if remainder and isinstance(scope.parent(node), ast.Compare):
        counted = node.left
        if isinstance(counted, ast.BinOp) and number(counted.right) == 1:
            yield replace(counted, "{0}", counted.left)
        else:
            yield replace(counted, "{0} + 1", counted)


@operator(
    imitates="https://github.com/eriklindernoren/PyTorch-YOLOv3/pull/313",
    channel="trajectory",
    on="step",
    equivalent="the window has one micro-batch",
    examples=[
        (
            "if (n + 1) % k == 0:\n    self.optimizer.step()\n    self.optimizer.zero_grad()",
            "self.optimizer.step()\nself.optimizer.zero_grad()",
        )
    ],
)
def step_each_micro(node: Node, scope: Scope) -> Edits:
    """The update is made after every micro-batch."""
    plain = isinstance(node, ast.If) and not node.orelse
    if plain and any(statement_call(s, "step") for s in node.body):
        yield unwrap(node, node.body)


@operator(
    imitates="https://github.com/allenai/open-instruct/pull/1498",
    channel="trajectory",
    on="step",
    equivalent="there is one micro-batch",
    examples=[
        (
            "for part in parts:\n    loss.backward()\nself.optimizer.step()",
            "for part in parts:\n    loss.backward()\n    self.optimizer.step()",
        )
    ],
)
def step_inside_loop(node: Node, scope: Scope) -> Edits:
    """The update moves into the loop over micro-batches."""
    if statement_call(node, "step"):
        block = scope.block(node)
        for loop in block[: block.index(node)]:
            if isinstance(loop, ast.For) and any(statement_call(s, "backward") for s in loop.body):
                last = loop.body[-1]
                yield delete(node) + after(last, "{0}", node)


@operator(
    imitates="https://github.com/rasbt/LLMs-from-scratch/pull/300",
    channel="trajectory",
    on="step",
    equivalent="the window always closes with the last micro-batch",
    examples=[
        ("if (n + 1) % k == 0 or n + 1 == len(x):\n    go()", "if (n + 1) % k == 0:\n    go()"),
        ("if (n + 1) % k == 0 or n + 1 == len(x):\n    go()", "if n + 1 == len(x):\n    go()"),
    ],
)
def drop_alternative(node: Node, scope: Scope) -> Edits:
    """One of two conditions is forgotten: the last, shorter window is never used."""
    if isinstance(node, ast.BoolOp) and len(node.values) == 2:
        for value in node.values:
            yield replace(node, "{0}", value)


@operator(
    imitates="https://github.com/tomhosking/torchseq/issues/8",
    channel="trajectory",
    on="step",
    equivalent="the last micro-batch is empty",
    examples=[
        (
            "for part in x.split(4):\n    loss.backward()",
            "for part in x.split(4)[:-1]:\n    loss.backward()",
        ),
        (
            "for a, b in zip(x.split(4), y.split(4)):\n    loss.backward()",
            "for a, b in zip(x.split(4)[:-1], y.split(4)):\n    loss.backward()",
        ),
    ],
)
def lose_last_micro(node: Node, scope: Scope) -> Edits:
    """The last micro-batch is left out."""
    loops = isinstance(node, ast.For) and any(call(n, "backward") for n in ast.walk(node))
    source = node.iter if loops else None
    while made := call(source, "zip", "enumerate") if source is not None else None:
        source = made.of
    if source is not None and call(source, "split", "chunk", "tensor_split", "unbind"):
        yield replace(source, "{0}[:-1]", source)


@operator(
    imitates="https://github.com/OpenNMT/OpenNMT-py/pull/526",
    channel="trajectory",
    on="step",
    equivalent="the two counts agree",
    examples=[("loss = loss * len(part) / len(x)", "loss = loss * len(part) / len(part)")],
)
def wrong_count(node: Node, scope: Scope) -> Edits:
    """The loss is divided by another count than that which it was multiplied by stands for."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        divisor, factor = node.right, getattr(node.left, "right", node)
        if call(divisor, "len") and call(factor, "len"):
            yield replace(divisor, "{0}", factor)
