"""The result for other tools and for a browser: the mutation-testing report schema, version 2.

https://github.com/stryker-mutator/mutation-testing-elements: its web component is inlined, so that
the page needs no network.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from bugzoo import __version__
from bugzoo.errors import UserError
from bugzoo.mutation.project.score import Outcome, Result

STATUS = {
    "killed": "Killed",
    "survived": "Survived",
    "timeout": "Ignored",  # the schema's Timeout counts as detected; here a time-out is no kill
    "crash": "RuntimeError",
    "equivalent": "Ignored",
    "second": "Ignored",
    "stillborn": "RuntimeError",
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<script>{component}</script>
</head>
<body>
<mutation-test-report-app title-postfix="bugzoo"></mutation-test-report-app>
<script type="application/json" id="report">{data}</script>
<script>
const app = document.querySelector("mutation-test-report-app");
app.report = JSON.parse(document.getElementById("report").textContent);
app.addEventListener("theme-changed", () => {{
  document.body.style.backgroundColor = app.themeBackgroundColor;
}});
</script>
</body>
</html>
"""


def write(outcome: Outcome, folder: Path) -> list[Path]:
    """report.json and report.html in `folder`."""
    made = report(outcome)
    pages = {"report.json": json.dumps(made, indent=1) + "\n", "report.html": html(made)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written: {error.strerror}") from None
    return [folder / name for name in pages]


def html(made: dict[str, Any]) -> str:
    vendor = resources.files("bugzoo.mutation.project") / "vendor"
    component = (vendor / "mutation-test-elements.js").read_text(encoding="utf-8")
    data = json.dumps(made).replace("<", "\\u003c")  # sources may contain </script>
    return PAGE.format(title=f"bugzoo mutate {made['projectRoot']}", component=component, data=data)


def report(outcome: Outcome) -> dict[str, Any]:
    """The schema's object. A killer is the first test that fails: the run of a mutant ends there."""
    names = outcome.reached or outcome.detectors
    ids = {name: str(n) for n, name in enumerate(names)}
    lines = outcome.source.split("\n")
    tests: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        file, _, test = name.partition("::")
        home = file if test else f"detectors/{file}.py"
        tests.setdefault(home, []).append({"id": ids[name], "name": test or file})
    return {
        "schemaVersion": "2",
        "thresholds": {"high": 90, "low": 60},
        "projectRoot": outcome.target,
        "files": {
            outcome.file: {
                "language": "python",
                "source": outcome.source,
                "mutants": [_mutant(r, ids, lines) for r in outcome.results],
            }
        },
        "testFiles": {file: {"tests": listed} for file, listed in tests.items()},
        "framework": {"name": "bugzoo", "version": __version__},
    }


def _mutant(result: Result, ids: dict[str, str], lines: list[str]) -> dict[str, Any]:
    m = result.mutant
    killers = [ids[name] for name in result.killed_by.split(", ") if name in ids]
    if result.killed_by in ids:
        killers = [ids[result.killed_by]]
    made: dict[str, Any] = {
        "id": m.id,
        "mutatorName": m.operator,
        "replacement": m.replacement,
        "description": result.witness or result.words or m.operator,
        "status": STATUS[result.status or "survived"],
        "statusReason": _reason(result),
        "location": {
            "start": {"line": m.first, "column": 1},
            "end": {"line": m.last, "column": len(lines[m.last - 1]) + 1},
        },
        "coveredBy": list(ids.values()),
        "killedBy": killers,
        "testsCompleted": result.ran,
        "duration": round(1000 * result.seconds, 1),
    }
    return made


def _reason(result: Result) -> str:
    return {
        "killed": result.why,
        "survived": result.witness or "no test fails",
        "timeout": f"time-out: {result.why}",
        "crash": f"crash: {result.why}",
        "equivalent": f"equivalent on {result.probes} probes",
        "second": f"differs in second derivatives alone: {result.words}",
        "stillborn": f"raises on every probe: {result.words}",
    }[result.status or "survived"]
