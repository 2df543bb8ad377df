"""What check_backward hands to bugzoo.check: options from markers and call, a callable, quiet surroundings."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import bugzoo
from bugzoo.errors import UserError, did_you_mean

MARK = "backward"


def options(node: pytest.Item, given: dict[str, Any]) -> dict[str, Any]:
    """Options of the markers, the closest last, then those of the call. UserError where one is none."""
    chosen: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers(MARK))):
        if mark.args:
            raise UserError(
                f"@pytest.mark.{MARK}{mark.args}: expected keywords, as in {MARK}(budget=1.0)"
            )
        chosen |= mark.kwargs
    chosen |= given
    known = [
        p.name
        for p in inspect.signature(bugzoo.check).parameters.values()
        if p.kind == p.KEYWORD_ONLY
    ]
    for name in chosen:
        if name not in known:
            near = did_you_mean(name, known)
            raise UserError(f"unknown option '{name}'; expected {', '.join(known)}.{near}")
    for name, expected, right in (
        ("budget", "seconds, 0 or more", lambda v: isinstance(v, int | float) and v >= 0),
        ("seed", "a whole number", lambda v: isinstance(v, int)),
    ):
        value = chosen.get(name)
        if value is None:
            chosen.pop(name, None)
        elif isinstance(value, bool) or not right(value):
            raise UserError(f"{name}={value!r}: expected {expected}")
    return chosen


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """One torch thread, gradients on, no warnings; all as before afterwards.

    The probes call the function in ways that its author never would; what it warns of there says
    nothing, and must not become an error where warnings are errors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                yield
        finally:
            torch.set_num_threads(threads)
