"""Modules: which tensors are parameters, whether anyone trains them, in which mode."""

import ast

from bugzoo.mutation.edit import before, delete, replace
from bugzoo.mutation.match import attribute, call, recalled, renamed, statement_call
from bugzoo.mutation.operator import Edits, Node, operator
from bugzoo.mutation.scope import Scope

LAYERS = (
    "Linear", "Conv1d", "Conv2d", "Conv3d", "Embedding", "LayerNorm", "BatchNorm1d", "BatchNorm2d",
    "GroupNorm", "RNN", "LSTM", "GRU", "MultiheadAttention", "dense",
)  # fmt: skip


@operator(
    imitates="https://discuss.pytorch.org/t/obtaining-abnormal-changes-in-loss-and-accuracy/84911",
    channel="value",
    on=("init",),
    equivalent="the modules have no parameters",
    examples=[
        (
            "self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])",
            "self.layers = [nn.Linear(4, 4), nn.Linear(4, 4)]",
        ),
        ("self.p = nn.ParameterList(made)", "self.p = list(made)"),
        ('self.d = nn.ModuleDict({"a": a})', 'self.d = {"a": a}'),
    ],
)
def plain_container(node: Node, scope: Scope) -> Edits:
    """A plain list hides the layers from `parameters()`: no optimizer ever sees them."""
    made = call(node, "ModuleList", "ParameterList", "ModuleDict", "ParameterDict")
    if made and made.of is not None:
        plain = {"ModuleList": "list", "ParameterList": "list"}.get(made.name, "dict")
        literal = isinstance(made.of, ast.List | ast.Dict | ast.ListComp | ast.DictComp)
        yield replace(node, "{0}" if literal else f"{plain}({{0}})", made.of)


@operator(
    imitates="https://github.com/harvard-edge/cs249r_book/pull/1504",
    channel="value",
    on=("init",),
    equivalent="the parameter is frozen anyway",
    examples=[
        ("self.w = nn.Parameter(torch.ones(4))", "self.w = torch.ones(4)"),
        ("self.w = nn.Parameter(t, requires_grad=False)", None),
    ],
)
def plain_tensor(node: Node, scope: Scope) -> Edits:
    """A tensor that is no Parameter: its gradient is None, and it never learns."""
    made = call(node, "Parameter")
    if made and made.of is not None and not made.args and not made.node.keywords:
        yield replace(node, "{0}", made.of)


@operator(
    imitates="taught",
    channel="contract",
    on=("init",),
    equivalent="the module is neither moved nor saved: then the values are the same",
    examples=[('self.register_buffer("mean", torch.zeros(4))', "self.mean = torch.zeros(4)")],
)
def attribute_for_buffer(node: Node, scope: Scope) -> Edits:
    """A buffer kept as a plain attribute stays behind when the module moves or is saved."""
    made = statement_call(node, "register_buffer")
    if made and len(made.args) == 2 and made.of is not None:
        name = getattr(made.args[0], "value", None)
        if isinstance(name, str) and name.isidentifier():
            yield replace(node, f"{{0}}.{name} = {{1}}", made.of, made.args[1])


@operator(
    imitates="https://discuss.pytorch.org/t/obtaining-abnormal-changes-in-loss-and-accuracy/84911",
    channel="value",
    on=("init",),
    equivalent="the layer is frozen anyway",
    examples=[
        ("self.head = nn.Linear(4, 2)", "self.head = nn.Linear(4, 2).requires_grad_(False)"),
        ("self.act = nn.Tanh()", None),
    ],
)
def freeze_layer(node: Node, scope: Scope) -> Edits:
    """A layer is frozen that should learn."""
    if call(node, *LAYERS):
        yield replace(node, "{0}.requires_grad_(False)", node)


@operator(
    imitates="https://github.com/torch/DEPRECEATED-torch7-distro/issues/156",
    channel="value",
    on=("init",),
    equivalent="the parameter is used once only",
    examples=[
        (
            "self.head.weight = self.embed.weight",
            "self.head.weight = nn.Parameter(self.embed.weight.detach().clone())",
        )
    ],
)
def copy_tied_weight(node: Node, scope: Scope) -> Edits:
    """Two layers that should share a weight get copies, and drift apart."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
        if attribute(target, "weight", "bias") and attribute(value, "weight", "bias"):
            yield replace(value, "nn.Parameter({0}.detach().clone())", value)


@operator(
    imitates="https://github.com/huggingface/accelerate/issues/2665",
    channel="value",
    on=("module",),
    equivalent="nothing holds the old tensor",
    examples=[
        (
            "return x * self.scale",
            "self.scale = nn.Parameter(self.scale.detach().clone())\nreturn x * self.scale",
        ),
    ],
)
def new_parameter_each_call(node: Node, scope: Scope) -> Edits:
    """The forward makes the parameter anew: the optimizer steps the old one."""
    if attribute(node, "scale", "weight", "bias", "gamma", "beta", "w", "b"):
        own = isinstance(node.value, ast.Name) and node.value.id == "self"
        init = scope.method("__init__")
        if own and isinstance(node.ctx, ast.Load) and (init is None or _parameter(init, node.attr)):
            name = f"self.{node.attr}"
            yield before(scope.statement(node), f"{name} = nn.Parameter({name}.detach().clone())")


@operator(
    imitates="https://github.com/fartashf/vsepp/issues/4",
    channel="trajectory",
    on=("step", "module"),
    equivalent="the model has neither dropout nor batch statistics",
    examples=[
        ("self.model.train()\nloss.backward()", "self.model.eval()\nloss.backward()"),
        ("model.eval()\nloss.backward()", "model.train()\nloss.backward()"),
    ],
)
def wrong_mode(node: Node, scope: Scope) -> Edits:
    """Training in evaluation mode, or the reverse."""
    made = statement_call(node, "train", "eval")
    if made and isinstance(made.node.func, ast.Attribute) and not made.args:
        yield renamed(made.node, "eval" if made.name == "train" else "train")


@operator(
    imitates="https://github.com/NVIDIA/Megatron-LM/pull/411",
    channel="trajectory",
    on=("step",),
    equivalent="the mode is right already, or plays no part",
    examples=[("self.model.train()\nloss.backward()", "loss.backward()")],
)
def drop_mode(node: Node, scope: Scope) -> Edits:
    """The model stays in the mode in which validation left it."""
    if isinstance(node, ast.Expr) and call(node.value, "train"):
        yield delete(node)


@operator(
    imitates="taught",
    channel="value",
    on=("module",),
    equivalent="the dropout rate is 0",
    examples=[("h = F.dropout(h, 0.5, self.training)", "h = F.dropout(h, 0.5)")],
)
def drop_training_flag(node: Node, scope: Scope) -> Edits:
    """Dropout that never stops."""
    made = call(node, "dropout", "dropout1d", "dropout2d", "batch_norm")
    flags = [a for a in made.args if attribute(a, "training")] if made else []
    flags += [k for k in node.keywords if attribute(k.value, "training")] if made else []
    if flags:
        yield recalled(node, without=tuple(flags))


def _parameter(init: ast.FunctionDef, name: str) -> bool:
    """Does `__init__` make `self.name` a Parameter?"""
    return any(
        isinstance(n, ast.Assign)
        and attribute(n.targets[0], name) is not None
        and call(n.value, "Parameter") is not None
        for n in ast.walk(init)
    )
