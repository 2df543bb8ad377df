"""Training steps: which loss is differentiated, how often, and what is kept of it."""

import ast

from bugzoo.mutation.edit import after, before, on_class, replace
from bugzoo.mutation.match import call, recalled, statement_call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

LOSSES = (
    "cross_entropy", "mse_loss", "nll_loss", "l1_loss", "smooth_l1_loss", "kl_div",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss",
    "CrossEntropyLoss", "MSELoss", "NLLLoss", "BCEWithLogitsLoss",
)  # fmt: skip


@operator(
    imitates="https://github.com/paiml/aprender/pull/2182",
    channel="trajectory",
    on=("step", "init"),
    equivalent="one row, or an optimizer that ignores the scale",
    examples=[
        ("loss = F.cross_entropy(h, y)", 'loss = F.cross_entropy(h, y, reduction="sum")'),
        ('loss = F.mse_loss(h, y, reduction="sum")', "loss = F.mse_loss(h, y)"),
    ],
)
def sum_reduction(node: Node, scope: Scope) -> Edits:
    """The loss is summed over the batch where its mean was meant."""
    made = call(node, *LOSSES)
    if made:
        given = made.keyword("reduction")
        if given is None:
            yield recalled(node, extra='reduction="sum"')
        elif isinstance(given.value, ast.Constant) and given.value.value == "sum":
            yield recalled(node, without=(given,))


@operator(
    imitates="https://github.com/paiml/aprender/issues/3034",
    channel="trajectory",
    on="step",
    equivalent="never: no parameter gets a gradient",
    examples=[
        ("loss.backward()", "torch.tensor(loss.item(), requires_grad=True).backward()"),
    ],
)
def item_loss(node: Node, scope: Scope) -> Edits:
    """The loss is made anew from its number, to silence an error: nothing learns."""
    made = statement_call(node, "backward")
    if made and isinstance(made.of, ast.Name) and not made.args:
        anew = "torch.tensor({0}.item(), requires_grad=True)"
        yield replace(made.of, anew if scope.torch else "{0}.detach().requires_grad_()", made.of)


@operator(
    imitates="https://github.com/modelscope/FunASR/pull/3472",
    channel="trajectory",
    on="step",
    equivalent="the optimizer ignores the scale of the gradient",
    examples=[
        ("loss.backward()", "loss.backward(retain_graph=True)\nloss.backward()"),
        ("loss.backward(retain_graph=True)", None),
    ],
)
def backward_twice(node: Node, scope: Scope) -> Edits:
    """The backward runs twice, as when a hook or a helper runs it too."""
    made = statement_call(node, "backward")
    if made and made.of is not None and not made.args and not made.node.keywords:
        yield before(node, "{0}.backward(retain_graph=True)", made.of)


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/7343",
    channel="memory",
    on="step",
    equivalent="the graph dies with the loss: only the peak grows",
    examples=[("loss.backward()", "loss.backward(retain_graph=True)")],
)
def retain_graph(node: Node, scope: Scope) -> Edits:
    """The graph is kept although nobody needs it."""
    made = statement_call(node, "backward")
    if made and not made.keyword("retain_graph") and not made.keyword("create_graph"):
        yield recalled(made.node, extra="retain_graph=True")


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/7343",
    channel="memory",
    on="step",
    equivalent="the gradients are set to None each time",
    examples=[("loss.backward()", "loss.backward(create_graph=True)")],
)
def create_graph(node: Node, scope: Scope) -> Edits:
    """Gradients that carry a graph: x, x.grad and their node keep each other alive."""
    made = statement_call(node, "backward")
    if made and not made.keyword("retain_graph") and not made.keyword("create_graph"):
        yield recalled(made.node, extra="create_graph=True")


@operator(
    imitates="https://github.com/google/brax/pull/152",
    channel="memory",
    on="step",
    equivalent="the sum is dropped before the next step",
    examples=[
        ("total += loss.item()", "total += loss"),
        ("self.losses.append(loss.item())", "self.losses.append(loss)"),
        ("self.total += float(loss)", "self.total += loss"),
        ("return loss.item()", None),
    ],
)
def hold_loss(node: Node, scope: Scope) -> Edits:
    """The log holds tensors, and each of them its whole graph."""
    made = call(node, "item", "float")
    if made and made.of is not None and not made.args:
        holder = scope.parent(node)
        appended = isinstance(holder, ast.Call) and call(holder, "append")
        if isinstance(holder, ast.AugAssign) or appended:
            yield replace(node, "{0}", made.of)


@operator(
    imitates="https://github.com/horovod/horovod/pull/641",
    channel="memory",
    on="step",
    equivalent="the list is emptied elsewhere",
    examples=[
        (
            "def step(self, x, y):\n    loss.backward()\n    return loss.item()\n",
            "history = []\n\n"
            "def step(self, x, y):\n    loss.backward()\n    self.history.append(loss)\n"
            "    return loss.item()\n",
        )
    ],
)
def collect_losses(node: Node, scope: Scope) -> Edits:
    """Every loss is collected with its graph, to be plotted some day."""
    made = statement_call(node, "backward")
    if made and isinstance(made.of, ast.Name) and scope.owner and scope.name == "step":
        line = f"self.history.append({made.of.id})"
        yield on_class(scope, "history = []") + after(node, line)


@operator(
    imitates="invented",
    channel="trajectory",
    on="step",
    equivalent="two batches are alike",
    examples=[
        (
            "def step(self, x, y):\n    loss = F.cross_entropy(self.model(x), y)\n",
            "previous = None\n\n"
            "def step(self, x, y):\n"
            "    previous = x if self.previous is None else self.previous\n"
            "    self.previous = x\n"
            "    loss = F.cross_entropy(self.model(previous), y)\n",
        )
    ],
)
def stale_batch(node: Node, scope: Scope) -> Edits:
    """The predictions of the batch before are held against the labels of this one."""
    made = isinstance(node, ast.Assign) and call(node.value, *LOSSES)
    inner = made.of if made else None
    if isinstance(inner, ast.Call) and len(inner.args) == 1 and scope.owner:
        batch = inner.args[0]
        if isinstance(batch, ast.Name) and batch.id in scope.parameters:
            x = batch.id
            lines = (
                f"previous = {x} if self.previous is None else self.previous\nself.previous = {x}"
            )
            yield (
                on_class(scope, "previous = None")
                + before(node, lines)
                + replace(batch, "previous")
            )


@operator(
    imitates="https://github.com/pytorch/pytorch/issues/52241",
    channel="trajectory",
    on="step",
    equivalent="the loss does not mind its input being normalised",
    examples=[
        (
            "loss = F.cross_entropy(self.model(x), y)",
            "loss = F.cross_entropy(self.model(x).softmax(-1), y)",
        )
    ],
)
def softmax_twice(node: Node, scope: Scope) -> Edits:
    """Probabilities are handed to a loss that takes logits."""
    made = call(node, "cross_entropy")
    if made and made.of is not None:
        yield replace(made.of, "{0}.softmax(-1)", made.of)
