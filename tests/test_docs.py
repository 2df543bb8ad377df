"""The documents cannot go stale: their commands parse, their names exist, their code runs."""

import re
from pathlib import Path

import pytest

from bugzoo import catalog, cli
from bugzoo.oracle.claims import claims

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/mutate.md",
    "docs/recipes.md",
    "docs/check.md",
    "docs/training.md",
    "docs/peers.md",
    "docs/learn.md",
    "docs/class.md",
]
README = (ROOT / "README.md").read_text()


def commands():
    """(page, words) for each line of a code block that calls bugzoo."""
    for page in PAGES:
        for line in (ROOT / page).read_text().splitlines():
            if re.match(r"    bugzoo [a-z]", line):
                yield page, line.split("#")[0].replace("'", "").split()[1:]


@pytest.mark.parametrize(("page", "words"), list(commands()), ids=lambda v: " ".join(v)[:40])
def test_every_command_parses(page, words):
    """The verb exists and takes these options and arguments."""
    verb, *arguments = words
    command = cli.cli.get_command(None, verb)

    assert command is not None
    command.make_context(verb, arguments)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z0-9_]+/[a-z0-9_]+)`", README))))
def test_every_specimen_that_the_readme_names_exists(name, zoo):
    """'From the lesson to the zoo' points at something."""

    assert name in zoo.specimens


def test_every_detector_that_the_lesson_maps_to_exists(zoo):
    """The second table's right column holds detectors."""
    table = README[
        README.index("| the lesson checks with") : README.index("Its story from production")
    ]
    named = set(re.findall(r"`([a-z_]+)`", table))

    assert len(named) >= 9
    assert named <= set(zoo.detectors)


def test_the_scoreboard_has_every_detector(zoo):
    """One row each; other projects' tools have theirs in docs/peers.md."""
    rows = set(re.findall(r"^    ([a-z_]+) +\d+ +\d+ +\d\.\d", README, re.M))

    assert rows == {name for name, detector in zoo.detectors.items() if not detector.peer}


def test_the_readmes_own_specimen_is_judged(tmp_path):
    """The example of 'Your own backward pass', with a package of that name."""
    code = re.search(r"```python\nimport torch\n.*?```", README, re.S).group(0)[10:-3]
    package = """
class MySwish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * s * (1 + x * (1 - s))
"""
    (tmp_path / "swish.py").write_text(re.sub(r"from my_package import MySwish.*\n", package, code))
    found = catalog.load(specimens=[tmp_path / "swish.py"])

    assert found.problems == []
    assert all(c.holds for c in claims(found.specimens["swish/swish"]))
