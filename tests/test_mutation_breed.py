"""Breeding: every mutant is a program of its own, with an id that never changes."""

import ast
import json
import subprocess
import sys

import pytest

from bugzoo import source
from bugzoo.errors import UserError
from bugzoo.mutation.breed import PRAGMA, by_name, mutants, pairs
from bugzoo.mutation.operator import collected
from bugzoo.mutation.operators.magnitude import factor
from bugzoo.specimens.operations.layer_norm import LayerNorm
from bugzoo.specimens.operations.linear import Linear
from bugzoo.specimens.operations.relu import Relu

TEXT = source.standalone(LayerNorm)
CLOSURE = """\
from torch import nn


class Subject(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, x):
        h = self.layers[0](x)
        return x + h


def train(model, optimizer, batches):
    for x in batches:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
"""


@pytest.fixture(scope="module")
def bred(zoo):
    """All that is correct, each with its mutants."""
    healthy = [s for s in zoo.specimens.values() if s.twin != "broken"]
    return [(s, mutants(source.standalone(s.cls))) for s in healthy]


def test_every_mutant_is_a_program_of_its_own(bred):
    """It parses, compiles, differs from the right text and from every other mutant."""
    for specimen, made in bred:
        right = source.standalone(specimen.cls)
        trees = {ast.dump(ast.parse(right))}
        for mutant in made:
            compile(mutant.text, "subject", "exec")
            tree = ast.dump(ast.parse(mutant.text))
            assert tree not in trees, (specimen.id, mutant.operator, mutant.diff)
            trees.add(tree)


def test_ids_are_unique_over_the_whole_catalog(bred):
    """The same id means the same right text and the same wrong one."""
    texts = {}
    for specimen, made in bred:
        for mutant in made:
            both = (source.standalone(specimen.cls), mutant.text)
            assert texts.setdefault(mutant.id, both) == both

    assert len(texts) > 2000


def test_no_operator_dominates(bred):
    """At most 15 % of the mutants of correct implementations come from one operator."""
    names = [m.operator for s, made in bred if s.twin == "correct" for m in made]

    assert max(names.count(name) for name in set(names)) <= 0.15 * len(names)


def test_every_correct_twin_has_mutants(bred):
    """There is something to get wrong in every one of them."""
    assert [s.id for s, made in bred if s.twin == "correct" and len(made) < 10] == []


def test_a_mutant_says_what_was_changed():
    """Operator, method, line, the lines before and after, a diff."""
    made = next(m for m in mutants(TEXT) if m.operator == "reduce_everything")

    assert made.method == "backward"
    assert TEXT.splitlines()[made.line - 1].strip() == made.before
    assert (made.before, made.after) == ("mean_g = g.mean(-1, keepdim=True)", "mean_g = g.mean()")
    assert "-        mean_g = g.mean(-1, keepdim=True)\n+        mean_g = g.mean()" in made.diff


def test_dead_code_does_not_give_a_mutant_away():
    """The mean that a dropped term used goes with the term."""
    made = [m.text for m in mutants(TEXT) if m.operator == "drop_term"]

    assert any("mean_gy" not in text for text in made)
    assert all(text.count("mean_gy") != 1 for text in made)


def test_equal_trees_are_one_mutant():
    """The first operator in the order of names has it, the other is noted."""
    made = mutants(source.standalone(Relu))

    assert {m.operator: m.also for m in made if m.also} == {"drop_factor": ("pass_through",)}


def test_breeding_is_deterministic():
    """In another process, with other hash seeds, the ids are the same and in the same order."""
    code = (
        "import json, sys; from bugzoo.mutation.breed import mutants, pairs;"
        "text = sys.stdin.read();"
        "print(json.dumps([m.id for m in mutants(text)]"
        " + [m.id for m in pairs(text, count=5, seed=1)]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        input=TEXT, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"},
    ).stdout  # fmt: skip

    assert json.loads(out) == [m.id for m in (*mutants(TEXT), *pairs(TEXT, count=5, seed=1))]


def test_pairs_combine_two_operators_in_two_statements():
    """As many as asked for, the same for the same seed, none of them a first-order mutant."""
    made = pairs(TEXT, count=30, seed=0)

    assert [m.id for m in made] == [m.id for m in pairs(TEXT, count=30, seed=0)]
    assert [m.id for m in made] != [m.id for m in pairs(TEXT, count=30, seed=1)]
    assert len({m.id for m in made}) == 30
    assert not {m.text for m in made} & {m.text for m in mutants(TEXT)}
    for mutant in made:
        first, second = mutant.operator.split(" + ")
        assert first != second
        compile(mutant.text, "subject", "exec")


def test_pairs_are_stratified():
    """An operator with one site is drawn about as often as one with many."""
    chosen = by_name(["drop_term", "save_on_class"])
    made = pairs(TEXT, count=4, seed=0, operators=[*chosen, *by_name(["swap_saved"])])
    drawn = [name for m in made for name in m.operator.split(" + ")]

    assert drawn.count("save_on_class") >= 1


def test_methods_and_operators_can_be_chosen():
    """Only there, and only those."""
    text = source.standalone(Linear)

    assert {m.method for m in mutants(text, methods=["forward"])} == {"forward"}
    assert {m.operator for m in mutants(text, operators=by_name(["drop_transpose"]))} == {
        "drop_transpose"
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mutants(TEXT, "Subjct"), "Did you mean Subject?"),
        (lambda: mutants(TEXT, methods=["backwards"]), "Did you mean backward?"),
        (lambda: by_name(["drop_transpos"]), "Did you mean drop_transpose or"),
    ],
)
def test_wrong_names_are_answered_with_near_ones(call, message):
    """One message, no traceback."""
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        call()


def test_a_pragma_spares_a_line_or_a_function():
    """What is marked is not touched."""
    lines = TEXT.splitlines()
    number = next(n for n, line in enumerate(lines) if "return (g" in line)
    spared = "\n".join([*lines[:number], lines[number] + f"  {PRAGMA}", *lines[number + 1 :]])

    assert number + 1 in {m.line for m in mutants(TEXT)}
    assert number + 1 not in {m.line for m in mutants(spared)}
    whole = TEXT.replace("def backward(ctx, g):", f"def backward(ctx, g):  {PRAGMA}")
    assert {m.method for m in mutants(whole)} == {"forward"}


def test_modules_and_plain_functions():
    """A module's `__init__` and forward; a function that trains."""
    module = {m.operator for m in mutants(CLOSURE)}
    loop = {m.operator for m in mutants(CLOSURE, "train")}

    assert {"plain_container", "freeze_layer", "detach_value"} <= module
    assert {"drop_zero_grad", "step_before_backward", "zero_grad_after_backward"} <= loop
    assert not module & {"drop_zero_grad", "drop_term"}


def test_class_methods_are_bred_like_static_ones():
    """Neither the class nor the context is taken for a cotangent."""
    bound = TEXT.replace("@staticmethod", "@classmethod").replace("(ctx,", "(cls, ctx,")
    static, of_class = mutants(TEXT), mutants(bound)

    assert "def backward(cls, ctx, g):" in bound
    assert [(m.operator, m.line, m.after) for m in of_class] == [
        (m.operator, m.line, m.after) for m in static
    ]


def test_magnitude_knob():
    """factor(d) multiplies the gradient by 1 + d, whatever d."""
    (made,) = mutants(TEXT, operators=[factor(1e-4)])

    assert made.operator == "factor(0.0001)"
    assert "return 1.0001 * ((g - mean_g - y * mean_gy) / std)" in made.text


def test_operators_are_many_and_of_all_kinds():
    """At least 50, over backward, forward, module, __init__ and training step."""
    found = collected().values()

    assert len(found) >= 50
    assert {kind for o in found for kind in o.on} == {
        "backward", "forward", "module", "init", "step"
    }  # fmt: skip
    assert len({o.theme for o in found}) >= 15


@pytest.mark.parametrize("operator", collected().values(), ids=collected())
def test_labels(operator):
    """Each says whom it imitates, when it is harmless, and what it does."""
    known = operator.imitates in ("taught", "invented")

    assert known or operator.imitates.startswith(("https://github.com/", "https://discuss."))
    assert operator.equivalent and operator.doc and operator.examples
    assert operator.doc.splitlines()[0].endswith(".")
