"""Standalone text: complete, neutral, and equal in behaviour to the class it comes from."""

import torch

from bugzoo import source
from bugzoo.specimens.engines.value import AssignsForAdds, Value
from bugzoo.specimens.operations.layer_norm import BatchMean, LayerNorm


def test_twins_have_texts_of_the_same_shape():
    """The two texts differ in the line of the bug and in nothing else."""
    right, wrong = (source.standalone(c).splitlines() for c in (LayerNorm, BatchMean))

    assert len(right) == len(wrong)
    assert [a for a, b in zip(right, wrong, strict=True) if a != b] == [
        "        mean_g = g.mean(-1, keepdim=True)"
    ]


def test_wrong_lines_point_at_the_bug():
    """The line number is that of the broken twin's text."""
    (number,) = source.wrong_lines(LayerNorm, BatchMean)

    assert source.standalone(BatchMean).splitlines()[number - 1].strip() == "mean_g = g.mean()"


def test_text_holds_imports_and_helpers_that_are_used():
    """An engine's programs come along, the marks do not."""
    text = source.standalone(AssignsForAdds)

    assert "PROGRAMS = " in text and '"chain"' in text
    assert "import math" in text
    assert "bug" not in text.replace("bugzoo", "")
    assert "CASES" not in text and "reference" not in text


def test_neutral_class_behaves_like_the_original():
    """Rebuilt from text, the class gives the same gradient."""
    for cls in (LayerNorm, BatchMean):
        grads = []
        for op in (cls, source.neutral(cls)):
            x = torch.randn(3, 4, generator=_gen(), dtype=torch.float64, requires_grad=True)
            y = op.apply(x)
            grads.append(torch.autograd.grad(y, x, torch.arange(12.0).reshape(3, 4).double())[0])
        assert torch.equal(*grads)


def test_neutral_names_are_the_same_for_both_twins():
    """Class, module and qualified name say nothing."""
    for cls in (source.neutral(Value), source.neutral(AssignsForAdds)):
        assert (cls.__name__, cls.__module__, cls.__qualname__) == ("Subject", "subject", "Subject")


def test_diff_marks_the_removed_and_the_added_line():
    """A unified diff from correct to broken."""
    text = source.diff(LayerNorm, BatchMean)

    assert "-        mean_g = g.mean(-1, keepdim=True)\n+        mean_g = g.mean()" in text


def test_tracebacks_and_inspect_find_the_text():
    """The text is registered in linecache."""
    import inspect

    assert "std = x.std" in inspect.getsource(source.neutral(LayerNorm).forward)


def _gen():
    return torch.Generator().manual_seed(1)
