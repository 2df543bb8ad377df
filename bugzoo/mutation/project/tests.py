"""The user's tests, collected once; then each of them is run as often as it is asked, in forks."""

import random
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

_ERROR = re.compile(r"(E +)?[A-Za-z_][\w.]*(Error|Exception|Warning|Failed|Exit)\b")
LONGEST = 300  # characters of a failure that are kept


class Suite:
    """A plugin: takes the place of pytest's own loop over the collected tests.

    `ready(suite)` is called there; what it does with `run` is its affair.
    """

    def __init__(self, ready: Any):
        self.ready = ready
        self.session: Any = None
        self.problems: list[str] = []
        self._failed = ""
        self._outcomes: list[str] = []

    @pytest.hookimpl
    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.problems.append(f"{report.nodeid}: {_last(report.longreprtext)}")

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: Any) -> None:
        self._outcomes.append(report.outcome)
        if report.failed and not self._failed:
            self._failed = _last(report.longreprtext)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        self.session = session
        self.ready(self)
        return True

    @property
    def names(self) -> list[str]:
        return [item.nodeid for item in self.session.items]

    def run(self, which: list[int], after: Any = None) -> dict[str, Any]:
        """Run these tests, until the first that fails; `after(index, seconds)` is told of each.

        killed_by and why are '' where all pass; `ran` is how many were begun. The global generators
        start from 0, so tests that draw without a seed give every mutant the same draws, in every run.
        """
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)
        items = [self.session.items[n] for n in which]
        killed_by, ran = "", 0
        for item, following, n in zip(items, [*items[1:], None], which):
            self._failed, self._outcomes = "", []
            started = time.perf_counter()
            ran += 1
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if after is not None:
                after(n, time.perf_counter() - started, "skipped" in self._outcomes)
            if self._failed:
                killed_by = item.nodeid
                break
        if killed_by:
            with suppress(BaseException):
                self.session._setupstate.teardown_exact(None)
        return {"killed_by": killed_by, "why": self._failed[:LONGEST], "ran": ran}

    def files(self) -> list[str]:
        """The files of the tests and the conftest files that they use."""
        found = {str(item.path) for item in self.session.items}
        plugins = self.session.config.pluginmanager.get_plugins()
        found |= {str(getattr(p, "__file__", "")) for p in plugins if _is_conftest(p)}
        return sorted(found)


def _is_conftest(plugin: Any) -> bool:
    return Path(str(getattr(plugin, "__file__", "") or "")).name == "conftest.py"


def _last(text: str) -> str:
    """The line of a failure that says what went wrong: the last that begins with a kind of error."""
    lines = [line for line in str(text).splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or [""])[-1].removeprefix("E").strip()[:LONGEST]
