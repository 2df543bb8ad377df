"""Every specimen found by the scan: its claims are true and its code keeps the house rules."""

import ast
import inspect
import textwrap

import pytest
import torch

from bugzoo import catalog, source
from bugzoo.model import Context
from bugzoo.oracle.claims import claims

ZOO = catalog.load()
IDS = sorted(ZOO.specimens)
BROKEN = [i for i in IDS if ZOO.specimens[i].twin == "broken"]


def test_the_scan_has_no_problem():
    """Every file of the zoo can be used."""

    assert ZOO.problems == []


@pytest.mark.parametrize("name", IDS)
def test_every_claim_holds(name):
    """The oracle sees the defect where the label says so, and none where it says so."""
    lies = [c for c in claims(ZOO.specimens[name]) if not c.holds]

    assert lies == []


@pytest.mark.parametrize("name", BROKEN)
def test_twins_differ_in_code_only_where_the_bug_is(name):
    """A broken twin has a diff, and its text stands alone."""
    s = ZOO.specimens[name]
    base = ZOO.specimens[s.base]

    assert source.wrong_lines(base.cls, s.cls) or source.diff(base.cls, s.cls)
    assert source.neutral(s.cls).__name__ == source.NEUTRAL


@pytest.mark.parametrize("name", BROKEN)
def test_a_bug_overrides_few_methods(name):
    """The twin inherits: at most two methods are its own."""
    own = vars(ZOO.specimens[name].cls)
    methods = [n for n, v in own.items() if n != "_backward_cls" and (callable(v) or _static(v))]

    assert 1 <= len(methods) <= 2


@pytest.mark.parametrize("name", BROKEN)
def test_the_method_of_a_bug_is_bare(name):
    """No comment and no docstring inside a twin's method: either would be a spoiler."""
    cls = ZOO.specimens[name].cls
    text = textwrap.dedent(inspect.getsource(cls))
    (node,) = ast.parse(text).body
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            lines = text.splitlines()[method.lineno - 1 : method.end_lineno]
            assert ast.get_docstring(method) is None
            assert not any("#" in line for line in lines)


@pytest.mark.parametrize("name", IDS)
def test_draws_use_the_generator_only(name):
    """The same generator gives the same inputs, and the global random state is untouched."""
    for case in ZOO.specimens[name].truth.cases:
        if isinstance(case, Context):
            continue
        state = torch.random.get_rng_state()
        first, second = (case.draw(torch.Generator().manual_seed(5)) for _ in range(2))

        assert torch.equal(torch.random.get_rng_state(), state)
        for a, b in zip(first, second, strict=True):
            if isinstance(a, torch.Tensor):
                assert torch.equal(a, b)
                assert a.stride() == b.stride()


@pytest.mark.parametrize("name", IDS)
def test_text_stands_alone_and_reveals_nothing(name):
    """Neither the twin's own name, nor its file's, nor a mark, nor the label is in its text."""
    s = ZOO.specimens[name]
    text = source.standalone(s.cls)

    assert s.cls.__name__ not in text
    assert "@bug" not in text and "@correct" not in text and "@control" not in text
    if s.label:
        assert s.label.wrong not in text


def test_addresses_are_https():
    """What a label cites is an address."""
    for s in ZOO.specimens.values():
        for address in s.label.seen if s.label else s.truth.seen:
            assert address.startswith("https://"), s.id


def _static(value):
    return isinstance(value, staticmethod | classmethod | property)
