"""Who may import whom. Data flows one way, and what is light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# folder or file -> first parts of modules of ours that it may import
ALLOWED = {
    "bugzoo/errors.py": set(),
    "bugzoo/model.py": {"bugzoo.errors"},
    "bugzoo/cases.py": {"bugzoo.model"},
    "bugzoo/peers.py": {"bugzoo.errors", "bugzoo.model"},
    "bugzoo/mismatch.py": set(),
    "bugzoo/finding.py": {"bugzoo.finding_html"},
    "bugzoo/finding_html.py": {"bugzoo.finding"},  # for its types alone
    "bugzoo/pytest_plugin.py": {
        "bugzoo", "bugzoo.errors", "bugzoo.finding", "bugzoo.pytest_options",
    },
    "bugzoo/pytest_options.py": {"bugzoo", "bugzoo.errors"},
    "bugzoo/source.py": {"bugzoo.errors"},
    "bugzoo/composite.py": set(),
    "bugzoo/engine.py": set(),
    "bugzoo/digits.py": set(),
    "bugzoo/loop.py": {"bugzoo.digits"},
    "bugzoo/seats.py": {"bugzoo.loop", "bugzoo.digits"},
    "bugzoo/anonymous.py": {"bugzoo.model"},
    "bugzoo/subject.py": {
        "bugzoo.source", "bugzoo.loop", "bugzoo.seats", "bugzoo.model", "bugzoo.anonymous",
    },
    "bugzoo/specimens": {"bugzoo", "bugzoo.cases", "bugzoo.loop", "bugzoo.seats", "bugzoo.model"},
    "bugzoo/checkup": {
        "bugzoo.checkup", "bugzoo.finding", "bugzoo.mismatch", "bugzoo.model", "bugzoo.errors",
    },
    "bugzoo/watcher": {"bugzoo.watcher", "bugzoo.finding", "bugzoo.errors", "bugzoo.model"},
    "bugzoo/auditor": {
        "bugzoo.auditor", "bugzoo.watcher", "bugzoo.checkup", "bugzoo.finding", "bugzoo.mismatch",
        "bugzoo.errors", "bugzoo.model",
    },
    "bugzoo/oracle": {
        "bugzoo.model", "bugzoo.cases", "bugzoo.mismatch", "bugzoo.source", "bugzoo.loop",
        "bugzoo.seats", "bugzoo.oracle",
    },
    "bugzoo/mutation": {
        "bugzoo", "bugzoo.mutation", "bugzoo.model", "bugzoo.source", "bugzoo.oracle", "bugzoo.seats",
        "bugzoo.loop", "bugzoo.cases", "bugzoo.mismatch", "bugzoo.errors", "bugzoo.subject",
        "bugzoo.catalog", "bugzoo.composite", "bugzoo.engine",
        "bugzoo.trials.limits", "reports._rates",  # Wilson's interval, written once
    },
    "detectors": {
        "bugzoo", "bugzoo.errors", "bugzoo.model", "bugzoo.subject", "bugzoo.checkup", "bugzoo.watcher",
        "bugzoo.auditor",
        # what several strategies share is no strategy: never another detector
        "detectors._checkup", "detectors._difference", "detectors._jacobian", "detectors._ledger",
        "detectors._training",
        "detectors.peers._driving", "detectors.peers._pytest_torch",
    },
    # the school stands on everything; detectors are handed to it
    "bugzoo/learn": {
        "bugzoo", "bugzoo.learn", "bugzoo.model", "bugzoo.errors", "bugzoo.source", "bugzoo.catalog",
        "bugzoo.cases", "bugzoo.loop", "bugzoo.seats", "bugzoo.digits", "bugzoo.mismatch",
        "bugzoo.subject", "bugzoo.oracle", "bugzoo.mutation", "bugzoo.checkup", "bugzoo.finding",
    },
    "reports": {"reports", "bugzoo.trials.frame", "bugzoo.errors", "bugzoo.model"},
}  # fmt: skip
FILES = {
    str(p.relative_to(ROOT)): rule
    for place, rule in ALLOWED.items()
    for p in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py")))
    if p.exists() and p.name != "__init__.py"
}


def imported(path):
    """Modules of ours that the file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            # `from bugzoo import source` imports a module; `from bugzoo import bug` a name
            inner = {f"{module}.{a.name}" for a in node.names}
            modules = {m for m in inner if (ROOT / m.replace(".", "/")).with_suffix(".py").exists()}
            found |= modules or {module}
    return {m for m in found if m.partition(".")[0] in ("bugzoo", "detectors", "reports")}


@pytest.mark.parametrize("file", FILES)
def test_imports_point_one_way(file):
    """A file imports only what its place allows."""
    allowed = FILES[file]
    wrong = {
        m
        for m in imported(ROOT / file)
        if not any(m == a or (a != "bugzoo" and m.startswith(f"{a}.")) for a in allowed)
    }

    assert wrong == set()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import bugzoo", "torch"),
        ("import bugzoo.model", "torch"),
        ("import bugzoo.cli", "torch"),
        ("import bugzoo.cli", "pandas"),
        ("import bugzoo.cli", "rich"),
        ("import bugzoo.trials.frame", "torch"),
        ("import bugzoo.pytest_plugin", "torch"),
        ("from bugzoo import learn", "torch"),
        ("import bugzoo.learn.session, bugzoo.learn.screen, bugzoo.learn.path", "torch"),
        ("import bugzoo.learn.session, bugzoo.learn.screen, bugzoo.learn.path", "pandas"),
    ],
)
def test_what_is_light_stays_light(statement, absent):
    """Importing this does not bring that along."""
    code = f"{statement}; import sys; sys.exit('{absent}' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reports_never_import_torch():
    """Every report can be rebuilt where torch is not installed."""
    names = [p.stem for p in (ROOT / "reports").glob("*.py") if p.stem != "__init__"]
    lines = "\n".join(f"import reports.{n}" for n in names)
    code = f"import bugzoo.trials.frame\n{lines}\nimport sys\nsys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
