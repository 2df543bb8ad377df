"""The pytest plugin: a wrong gradient fails the test, and the examination's text is all that it says.

    def test_backward(check_backward):
        check_backward(my_fn, make_inputs)

`check_backward` is bugzoo.check, `watch_training` bugzoo.watch, `audit_training` bugzoo.audit.
`@pytest.mark.backward(budget=1.0, declare="straight_through", seed=3)` holds options of
check_backward for a test, a class or a module. `-p no:bugzoo` switches all of it off.
Every pytest run of an environment imports this file: it must not import torch.
"""

from __future__ import annotations

import contextlib
import linecache
import shlex
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import bugzoo
from bugzoo.errors import UserError
from bugzoo.pytest_options import MARK, options, undisturbed

if TYPE_CHECKING:
    from bugzoo.finding import Checkup, Result

HEADLINE = "bugzoo_headline"  # on an exception: what the summary line says


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Loaded once, be it by the entry point, by `-p bugzoo.pytest_plugin` or by a conftest."""
    for name in {"bugzoo", __name__} - {pluginmanager.get_name(sys.modules[__name__])}:
        pluginmanager.set_blocked(name)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARK}(budget=None, declare=(), seed=0): options of the fixture check_backward: "
        "seconds to spend, what is so by intent, the seed of inputs and probes.",
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """The summary line holds the headline alone, also where pytest would not cut it (-vv, CI)."""
    outcome: Any = yield
    headline = getattr(call.excinfo and call.excinfo.value, HEADLINE, None)
    crash = getattr(outcome.get_result().longrepr, "reprcrash", None)
    if headline and crash:
        crash.message = headline


@pytest.fixture
def check_backward(request: pytest.FixtureRequest) -> Callable[..., Checkup]:
    """check_backward(fn, make_inputs, **options): the test fails unless the backward of fn is right.

    The arguments are those of bugzoo.check, whose Checkup is returned. Options given here come
    before those of the closest marker `backward`. An autograd.Function may be given as a class.
    """

    def examine(fn: Callable[..., Any], make_inputs: Any, **given: Any) -> Checkup:
        __tracebackhide__ = True
        test = _Test(request)
        try:
            with undisturbed():
                chosen = options(request.node, given)
                found: Checkup = bugzoo.check(fn, make_inputs, **chosen)
        except UserError as error:
            test.not_examined(error)
        test.judge(found, found.seed)
        return found

    return examine


@pytest.fixture
def watch_training(request: pytest.FixtureRequest) -> Callable[..., _Watched]:
    """with watch_training(models, optimizers) as log: the test fails if bugzoo.watch finds something.

    An exception of the loop's own passes; the log then stands beside it.
    """
    return lambda *args, **given: _Watched(request, args, given)


@pytest.fixture
def audit_training(request: pytest.FixtureRequest) -> Callable[..., Result]:
    """audit_training(make_run): the test fails if bugzoo.audit finds something; returns the Audit."""

    def examine(make_run: Callable[[], Any], **given: Any) -> Result:
        __tracebackhide__ = True
        test = _Test(request)
        try:
            found: Result = bugzoo.audit(make_run, **given)
        except UserError as error:
            test.not_examined(error)
        test.judge(found, found.seed)
        return found

    return examine


class _Watched:
    """bugzoo.watch whose log is judged when the block ends."""

    def __init__(self, request: pytest.FixtureRequest, args: tuple[Any, ...], given: dict):
        self.request, self.args, self.given = request, args, given

    def __enter__(self) -> Result:
        __tracebackhide__ = True
        self.test = _Test(self.request)
        try:
            self.watch = bugzoo.watch(*self.args, **self.given)
            self.log: Result = self.watch.__enter__()
        except UserError as error:
            self.test.not_examined(error)
        return self.log

    def __exit__(self, *exception: Any) -> None:
        __tracebackhide__ = True
        try:
            self.watch.__exit__(*exception)
        except UserError as error:
            self.test.not_examined(error)
        if exception[0] is None:
            self.test.judge(self.log)
        else:
            self.test.show(self.log)


class _Test:
    """The test that asked, and the line of it that did: turns a result into its outcome."""

    def __init__(self, request: pytest.FixtureRequest):
        frame: Any = sys._getframe(1)
        while frame.f_code.co_filename in (__file__, contextlib.__file__):
            frame = frame.f_back
        self.item, self.config = request.node, request.config
        file, line = frame.f_code.co_filename, frame.f_lineno
        self.call = f"{self._short(file)}:{line}: {linecache.getline(file, line).strip()}"

    def judge(self, found: Result, seed: int | None = None) -> None:
        """Fails the test, or leaves the text in the report's sections (`-rP` shows them)."""
        __tracebackhide__ = True
        if found.ok:
            self.show(found)
        else:
            headline = _headline(found)
            self._fail(headline, headline, str(found), seed=seed)

    def show(self, found: Result) -> None:
        self.item.add_report_section("call", "bugzoo", f"{self.call}\n{found}\n")

    def not_examined(self, error: UserError) -> NoReturn:
        """A mistake of the caller's: its message, and the line of the caller's that raised, if any."""
        __tracebackhide__ = True
        text = f"not examined: {error}"
        headline = textwrap.shorten(text.partition("\n")[0], 160, placeholder=" ...")
        self._fail(headline, text, self._raised(error))

    def _fail(self, headline: str, *parts: str, seed: int | None = None) -> NoReturn:
        __tracebackhide__ = True
        file, mark, name = self.item.nodeid.partition("::")
        address = shlex.quote(self._short(str(self.config.rootpath / file)) + mark + name)
        again = f"again:  pytest {address}" + (f"   (seed {seed})" if seed is not None else "")
        text = "\n".join(filter(None, (*parts, f"called: {self.call}", again)))
        failed = pytest.fail.Exception(text, pytrace=False)
        setattr(failed, HEADLINE, headline)
        raise failed from None

    def _raised(self, error: BaseException) -> str:
        """'raised: my_ops.py:12: return 1 / 0', the last line outside installed packages."""
        while error.__cause__ is not None:
            error = error.__cause__
        others = ("<", str(Path(__file__).parent), sysconfig.get_paths()["stdlib"])
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if not frame.filename.startswith(others) and "site-packages" not in frame.filename:
                line = f"{self._short(frame.filename)}:{frame.lineno}: {frame.line}"
                return f"raised: {line}" if line != self.call else ""
        return ""

    def _short(self, file: str) -> str:
        """The file as seen from where pytest was started, if it lies below."""
        folder = self.config.invocation_params.dir
        return str(Path(file).relative_to(folder)) if Path(file).is_relative_to(folder) else file


def _headline(found: Result) -> str:
    """The first finding in one line, and how many more there are."""
    first, more = found.findings[0], len(found.findings) - 1
    facts = [f"step {first.step}" if first.step is not None else "", first.line]
    if first.yours is not None and first.true is not None:
        facts.append(f"yours {first.yours:.4g}, true {first.true:.4g}")
    told = ", ".join(filter(None, facts))
    return (
        f"{first.channel}: {first.what}"
        + (f" ({told})" if told else "")
        + (f", and {more} more" if more else "")
    )
