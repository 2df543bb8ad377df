"""The recipes do what they say: their code runs, and prints what the page shows."""

import re

import pages
import pytest

RECIPES = pages.recipes(pages.PAGE.read_text())


@pytest.mark.parametrize("recipe", RECIPES, ids=[r.heading[:40] for r in RECIPES])
def test_the_recipe_prints_what_it_shows(recipe, tmp_path):
    """Word for word; numbers to 0.1 %; times and counts of passes apart."""
    for name in recipe.needs:
        if not pages.available(name):
            pytest.skip(f"there is no {name} here")
    pairs = pages.shown_and_printed(recipe, tmp_path)

    assert pairs
    for _, shown, printed in pairs:
        pages.compared(shown, printed)


@pytest.mark.parametrize("recipe", RECIPES, ids=[r.heading[:40] for r in RECIPES])
def test_each_recipe_has_a_wrong_version_and_a_right_one(recipe):
    """The wrong line says so in the code; what is right is shown beside it."""
    code = "".join(b[2] for b in recipe.blocks if b[1] == "python")
    shown = "".join(b[2] for b in recipe.blocks if b[1] != "python")

    assert re.search(r"# wrong|off by less", code)
    assert re.search(r"True|exit code 0|^\.F", shown, re.M)


def test_a_page_that_lies_is_noticed(tmp_path):
    """Another word, another number, output that is not shown: each fails."""
    pages.compared(
        "ratio 0.5 (3 forwards, 1 backwards, 0.10 s)",
        "ratio 0.50001 (9 forwards, 4 backwards, 2 s)",
    )
    for shown, printed in (
        ("ok", "wrong"),
        ("ratio 0.5", "ratio 0.6"),
        ("a", "a b"),
        ("1 finding", "2 findings"),
    ):
        with pytest.raises(AssertionError):
            pages.compared(shown, printed)
    (silent,) = pages.recipes("## Heading\n\n```python\nprint(1)\n```\n")
    with pytest.raises(AssertionError, match="shows nothing"):
        pages.shown_and_printed(silent, tmp_path)
    (raises,) = pages.recipes("## Heading\n\n```python\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        pages.shown_and_printed(raises, tmp_path)
