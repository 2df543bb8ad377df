"""Training steps: clipping and unscaling, when and over what."""

import ast

from bugzoo.mutation.edit import after, before, delete, replace
from bugzoo.mutation.match import Call, attribute, call, statement_call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.operators.ordering import neighbour, optimizer_step
from bugzoo.mutation.scope import Scope

CLIPS = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm")


def is_clip(node: Node) -> Call | None:
    """The node as a statement that clips gradients."""
    return call(node.value, *CLIPS) if isinstance(node, ast.Expr | ast.Assign) else None


@operator(
    imitates="https://github.com/awslabs/graphstorm/pull/1382",
    channel="trajectory",
    on="step",
    equivalent="the clip does not bind",
    examples=[
        (
            "loss.backward()\nclip_grad_norm_(p, 1.0)\nself.optimizer.step()",
            "loss.backward()\nself.optimizer.step()\nclip_grad_norm_(p, 1.0)",
        )
    ],
)
def clip_after_step(node: Node, scope: Scope) -> Edits:
    """Clipping comes when nothing reads the gradients any more."""
    if is_clip(node):
        step = neighbour(scope, node, optimizer_step)
        if step is not None:
            yield delete(node) + after(step, "{0}", node)


@operator(
    imitates="https://github.com/google-deepmind/open_spiel/issues/827",
    channel="trajectory",
    on="step",
    equivalent="the gradients are zero or new each time",
    examples=[
        (
            "loss.backward()\nclip_grad_norm_(p, 1.0)\nself.optimizer.step()",
            "clip_grad_norm_(p, 1.0)\nloss.backward()\nself.optimizer.step()",
        )
    ],
)
def clip_before_backward(node: Node, scope: Scope) -> Edits:
    """Clipping comes before there is anything to clip."""
    if is_clip(node):
        block = scope.block(node)
        for earlier in reversed(block[: block.index(node)]):
            if any(call(n, "backward") for n in ast.walk(earlier)):
                yield delete(node) + before(earlier, "{0}", node)
                return


@operator(
    imitates="https://github.com/huggingface/transformers/issues/1563",
    channel="trajectory",
    on="step",
    equivalent="the clip does not bind, or there is one micro-batch",
    examples=[
        (
            "for part in parts:\n    loss.backward()\nclip_grad_norm_(p, 1.0)",
            "for part in parts:\n    loss.backward()\n    clip_grad_norm_(p, 1.0)",
        )
    ],
)
def clip_each_micro(node: Node, scope: Scope) -> Edits:
    """Early micro-batches are clipped again and again."""
    if is_clip(node):
        block = scope.block(node)
        for loop in block[: block.index(node)]:
            if isinstance(loop, ast.For) and any(call(n, "backward") for n in ast.walk(loop)):
                last = loop.body[-1]
                backward = [s for s in loop.body if statement_call(s, "backward")]
                target = backward[-1] if backward else last
                yield delete(node) + after(target, "{0}", node)


@operator(
    imitates="https://github.com/paiml/entrenar/issues/267",
    channel="trajectory",
    on="step",
    equivalent="the clip does not bind",
    examples=[("loss.backward()\nclip_grad_norm_(p, 1.0)", "loss.backward()")],
)
def drop_clip(node: Node, scope: Scope) -> Edits:
    """No clipping on this path."""
    if is_clip(node):
        yield delete(node)


@operator(
    imitates="https://github.com/google-deepmind/open_spiel/issues/827",
    channel="trajectory",
    on="step",
    equivalent="the clip does not bind",
    examples=[
        (
            "clip_grad_norm_(self.model.parameters(), 1.0)",
            "clip_grad_norm_(list(self.model.parameters())[:1], 1.0)",
        ),
        (
            "clip_grad_norm_(self.model.parameters(), 1.0)",
            "for p in self.model.parameters():\n    clip_grad_norm_(p, 1.0)",
        ),
    ],
)
def clip_wrong_set(node: Node, scope: Scope) -> Edits:
    """The norm is taken over the wrong parameters: one of them, or each alone."""
    clip = is_clip(node)
    if clip and isinstance(clip.of, ast.Call) and clip.args:
        yield replace(clip.of, "list({0})[:1]", clip.of)
        if isinstance(node, ast.Expr):
            values = [clip.node.func, *clip.args, *(k.value for k in clip.node.keywords)]
            texts = [f"{{{n + 1}}}" for n in range(1, len(values))]
            for n, k in enumerate(clip.node.keywords, len(clip.args)):
                texts[n] = f"{k.arg}={texts[n]}"
            loop = f"for p in {{0}}:\n    {{1}}(p, {', '.join(texts)})"
            yield replace(node, loop, clip.of, *values)


@operator(
    imitates="https://github.com/Lightning-AI/pytorch-lightning/issues/9599",
    channel="trajectory",
    on="step",
    equivalent="the scale is 1, or the clip does not bind",
    examples=[
        (
            "for p in ps:\n    p.grad /= self.scale\nclip_grad_norm_(ps, 1.0)",
            "clip_grad_norm_(ps, 1.0)\nfor p in ps:\n    p.grad /= self.scale",
        ),
        (
            "scaler.unscale_(opt)\nclip_grad_norm_(ps, 1.0)",
            "clip_grad_norm_(ps, 1.0)\nscaler.unscale_(opt)",
        ),
    ],
)
def unscale_after_clip(node: Node, scope: Scope) -> Edits:
    """Scaled gradients are clipped: the clip binds far too early."""
    if is_clip(node):
        block = scope.block(node)
        for earlier in reversed(block[: block.index(node)]):
            unscales = statement_call(earlier, "unscale_") or (
                isinstance(earlier, ast.For)
                and "grad" in ast.unparse(earlier.body[0])
                and not any(call(n, "backward") for n in ast.walk(earlier))
            )
            if unscales:
                yield delete(node) + before(earlier, "{0}", node)
                return


@operator(
    imitates="https://github.com/milesial/Pytorch-UNet/issues/468",
    channel="trajectory",
    on="step",
    equivalent="the scale is 1, or the optimizer ignores it",
    examples=[
        ("for p in ps:\n    p.grad /= self.scale\nopt.step()", "opt.step()"),
        ("scaler.unscale_(opt)\nopt.step()", "opt.step()"),
    ],
)
def drop_unscale(node: Node, scope: Scope) -> Edits:
    """The loss was scaled, the gradients are not scaled back."""
    if statement_call(node, "unscale_"):
        yield delete(node)
    if isinstance(node, ast.For) and len(node.body) == 1:
        body: Node = node.body[0]
        divides = isinstance(body, ast.AugAssign) and isinstance(body.op, ast.Div | ast.Mult)
        if (divides and attribute(body.target, "grad")) or statement_call(body, "div_", "mul_"):
            yield delete(node)
