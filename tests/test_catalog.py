"""The scan: what it finds, and one clear message for each way a file can be wrong."""

import pytest

from bugzoo import catalog
from bugzoo.errors import UserError

GOOD = """
from torch.autograd import Function
from bugzoo import bug, correct
from bugzoo.cases import normal

@correct(cases=[normal("plain", (2, 3))], reference=lambda x: 2 * x)
class Double(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, g):
        return 2 * g

@bug(wrong="once, not twice", family="scaling", channel="value", shown_by="plain")
class Once(Double):
    @staticmethod
    def backward(ctx, g):
        return 1 * g
"""
DETECTOR = '''
from bugzoo import Verdict, detector

@detector(cost="nothing", blind_to="all")
def sleeper(subject, gen):
    """Never alarms."""
    return Verdict("clear", 0.0)
'''


def scan(tmp_path, text, name="mine.py", kind="specimens"):
    path = tmp_path / name
    path.write_text(text)
    return catalog.load(**{kind: [path]})


def test_a_third_partys_specimen_is_found(tmp_path):
    """A file given by path is scanned like our own."""
    found = scan(tmp_path, GOOD)

    assert found.problems == []
    assert found.specimens["mine/once"].base == "mine/double"
    assert found.specimens["mine/once"].label.shown_by == ("plain",)


def test_a_third_partys_detector_is_found(tmp_path):
    """Its name is the function's, its text the docstring."""
    found = scan(tmp_path, DETECTOR, kind="detectors")

    assert found.problems == []
    assert found.detectors["sleeper"].doc == "Never alarms."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("def forward", "def forward("), "line 9: syntax error"),
        (("from torch", "import nowhere\nfrom torch"), "No module named 'nowhere'"),
        (('shown_by="plain"', 'shown_by="plane"'), "'plane', which does not exist"),
        (('shown_by="plain"', "shown_by=()"), "'shown_by' is empty"),
        (('wrong="once, not twice"', 'wrong=" "'), "'wrong' is empty"),
        ((', shown_by="plain"', ""), "shown_by"),
        (('family="scaling"', 'family="scalling"'), "unknown word 'scalling'"),
        (('channel="value"', 'channel="values"'), "unknown word 'values'"),
        (("class Once(Double)", "class Once(Function)"), "must inherit from a class"),
        (('[normal("plain", (2, 3))]', "[]"), "'cases' is empty"),
        (("@correct", "#"), "must inherit from a class"),
        (("class Once", "class Double"), "defined twice"),
        (('normal("plain", (2, 3))]', 'normal("plain", (2, 3), cotangent="odd")]'), "'odd'"),
    ],
)
def test_each_malformed_file_is_named_with_its_reason(tmp_path, change, message):
    """What, where, and the remedy; the rest of the zoo is still there."""
    old, new = change
    assert old in GOOD
    found = scan(tmp_path, GOOD.replace(old, new, 1))

    assert any(message in str(p) and "mine.py" in str(p) for p in found.problems), found.problems
    assert "layer_norm/batch_mean" in found.specimens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('cost="nothing"', 'cost="nothing", needs="magic"'), "unknown word 'magic'"),
        (('cost="nothing", ', ""), "cost"),
        (("@detector", "#"), "holds nothing marked"),
    ],
)
def test_each_malformed_detector_is_named(tmp_path, change, message):
    """Likewise for detectors."""
    found = scan(tmp_path, DETECTOR.replace(*change, 1), kind="detectors")

    assert any(message in str(p) for p in found.problems), found.problems


def test_an_id_that_exists_already_is_a_problem(tmp_path):
    """The first stays, the second is named with the place of the first."""
    found = scan(tmp_path, GOOD.replace("Double", "LayerNorm").replace("Once", "BatchMean"),
                 name="layer_norm.py")  # fmt: skip

    assert any("is defined twice, first in" in str(p) for p in found.problems)


def test_a_missing_path_is_the_users_mistake(tmp_path):
    """No traceback: a UserError."""
    with pytest.raises(UserError, match="no such file or folder"):
        catalog.load(specimens=[tmp_path / "nowhere"])


def test_an_empty_folder_is_the_users_mistake(tmp_path):
    """Nothing to scan is said, not passed over."""
    with pytest.raises(UserError, match="holds no Python file"):
        catalog.load(detectors=[tmp_path])
