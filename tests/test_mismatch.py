"""Two gradients in words."""

import math

import pytest
import torch

from bugzoo.mismatch import compare, pattern

TRUE = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]], dtype=torch.float64)


def test_equal_is_zero():
    """No difference, no words about a wrong element."""
    found = compare(TRUE.clone(), TRUE)

    assert found.error == 0.0
    assert "equal in all 6" in found.words


def test_first_worst_and_ratio_are_named():
    """The reader sees where, both numbers and their ratio."""
    yours = TRUE.clone()
    yours[0, 1], yours[1, 2] = 2.5, 3.5
    found = compare(yours, TRUE)

    assert found.error == 0.5
    assert "dx[0, 1] is 2.5, true 2 (x 1.25)" in found.words
    assert "worst dx[1, 2] is 3.5, true 7 (x 0.5)" in found.words
    assert "2 of 6 wrong" in found.words


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (-TRUE, "the sign is wrong"),
        (TRUE / 4, "a common factor of 0.25"),
        (torch.zeros_like(TRUE), "all zeros"),
        (TRUE + torch.tensor([[1.0], [2.0]]), "the error is constant along axis 1"),
        (TRUE * torch.tensor([[0.0, 1, 1], [1, 1, 1]]), "zero in 1 places"),
    ],
)
def test_shape_of_the_error_is_said(yours, words):
    """A factor, a sign, zeros and constants are recognised."""

    assert words in compare(yours.double(), TRUE).words


def test_transpose_is_recognised():
    """For square gradients."""
    square = torch.arange(9.0).double().reshape(3, 3)

    assert "transposed" in pattern(square.mT, square)


def test_nan_and_wrong_shape_are_infinite():
    """Neither is a matter of degree."""
    yours = TRUE.clone()
    yours[1, 1] = math.nan

    assert compare(yours, TRUE).error == math.inf
    assert compare(TRUE.mT, TRUE).error == math.inf


def test_none_counts_as_zeros():
    """Autograd's None for an input that matters is a gradient of zero."""

    assert compare(None, TRUE).error == 1.0


def test_zero_against_zero_is_equal():
    """A true gradient of 0 is no division by zero."""

    assert compare(torch.zeros(3), torch.zeros(3)).error == 0.0
