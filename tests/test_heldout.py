"""The checkup on operations outside the catalog: broken beside correct, and what only looks broken."""

import warnings

import heldout
import pytest

import bugzoo

PAIRS, LOOKALIKES = heldout.everything()


def verdict(fn, thing):
    """The checkup of an operation, as its author would ask for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bugzoo.check(fn, thing.inputs, declare=thing.declare)


@pytest.mark.parametrize("name", PAIRS)
def test_the_wrong_one_is_found(name):
    """With the same inputs for both."""
    found = verdict(PAIRS[name].build(True), PAIRS[name])

    assert not found.ok, str(found)


@pytest.mark.parametrize("name", PAIRS)
def test_the_right_twin_is_not(name):
    found = verdict(PAIRS[name].build(False), PAIRS[name])

    assert found.ok, str(found)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_lookalike_is_not(name):
    found = verdict(LOOKALIKES[name].build(), LOOKALIKES[name])

    assert found.ok, str(found)
