"""Every operator does what its examples say, and names the bug that it imitates."""

import textwrap

import pytest

from bugzoo.mutation.breed import attempt, sites
from bugzoo.mutation.operator import collected
from bugzoo.mutation.rewrite import Program

OPERATORS = collected()
HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\nclass Subject({}):\n"
BASES = {"backward": "Function", "forward": "Function", "module": "nn.Module", "init": "nn.Module"}
HEADERS = {
    "backward": "@staticmethod\ndef backward(ctx, g):\n",
    "forward": "@staticmethod\ndef forward(ctx, x, w):\n",
    "module": "def forward(self, x):\n",
    "init": "def __init__(self):\n",
    "step": "def step(self, x, y):\n",
}
FORWARD = """\
@staticmethod
def forward(ctx, x, w):
    y = torch.tanh(x)
    ctx.save_for_backward(x, w, y)
    return y

"""
UNPACKED = "x, w, y = ctx.saved_tensors\n"


def whole(snippet, kind):
    """The program in which an example's statements, or methods, stand."""
    members = snippet
    if not any(line.startswith(("def ", "@")) for line in snippet.splitlines()):
        body = snippet
        if kind == "backward" and "saved_tensors" not in snippet:
            body = UNPACKED + snippet
        members = HEADERS[kind] + textwrap.indent(body, "    ")
        if kind == "backward":
            members = FORWARD + members
    return HEAD.format(BASES.get(kind, "Loop")) + textwrap.indent(members, "    ").rstrip() + "\n"


def results(operator, text):
    """The texts that the operator makes of a program."""
    program = Program(text)
    found = (attempt(program, s.edit) for s in sites(program, "Subject", operators=[operator]))
    return [changed.text for changed in found if changed is not None]


@pytest.mark.parametrize("name", OPERATORS)
def test_examples(name):
    """Each example's after is among what the operator makes of its before; None: it makes nothing."""
    operator = OPERATORS[name]
    kind = operator.on[0]

    assert any(after is not None for _, after in operator.examples)
    for before, after in operator.examples:
        made = results(operator, whole(before, kind))
        if after is None:
            assert made == []
        else:
            assert whole(after, kind) in made
