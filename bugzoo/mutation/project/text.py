"""The result as text for 80 columns: score, table by operator, survivors with witness and test."""

import textwrap

from bugzoo.mutation.project.score import Outcome, Result

WIDTH = 80
HEADINGS = {
    "killed": "killed",
    "survived": "survived",
    "timeout": "time-out",
    "crash": "crash",
    "equivalent": "equal",
    "second": "2nd",
    "stillborn": "stillborn",
}


def text(outcome: Outcome, most: int) -> str:
    """All of it, with the `most` most instructive survivors."""
    survivors = outcome.survivors()
    parts = [_head(outcome), _table(outcome)]
    shown = survivors[:most]
    if shown:
        parts.append(
            f"{len(shown)} of {len(survivors)} survivors, wrong on most probes first, "
            "then by the size of the error:"
        )
    parts += [_survivor(n, r, outcome) for n, r in enumerate(shown, 1)]
    return "\n\n".join(p for p in parts if p) + "\n"


def _head(outcome: Outcome) -> str:
    by = outcome.by_status()
    lines = [outcome.target]
    if outcome.counted:
        low, high = outcome.interval
        lines.append(
            f"mutation score {outcome.percent:.1f} % ({outcome.killed} of {outcome.counted} killed), "
            f"95 % interval {low:.1f} to {high:.1f}"
        )
    else:
        lines.append("mutation score: no mutant counts")
    judges = (
        f"{len(outcome.reached)} of {len(outcome.tests)} tests reach it, in {outcome.baseline:.2f} s"
        if outcome.command
        else f"judged by {', '.join(outcome.detectors)}"
    )
    speed = len(outcome.results) - outcome.reused
    rate = f", {speed / outcome.seconds:.1f} mutants/s" if outcome.seconds and speed else ""
    lines.append(f"{judges}; {len(outcome.results)} mutants in {outcome.seconds:.1f} s{rate}")
    if outcome.reused:
        lines.append(f"{outcome.reused} verdicts are from an earlier run")
    said = {
        "equivalent": f"{by['equivalent']} equivalent on {outcome.probes} probes",
        "second": f"{by['second']} differ in second derivatives alone",
        "stillborn": f"{by['stillborn']} raise on every probe",
        "timeout": f"{by['timeout']} run out of time",
        "crash": f"{by['crash']} crash",
    }
    apart = ", ".join(words for status, words in said.items() if by[status])
    lines += [f"not counted: {apart}"] if apart else []
    lines += [f"note: {note}" for note in outcome.notes]
    return "\n".join(_wrapped(line) for line in lines)


def _table(outcome: Outcome) -> str:
    rows = outcome.by_operator()
    if not rows:
        return ""
    shown = [s for s in HEADINGS if s in ("killed", "survived") or any(row[s] for row in rows)]
    wide = max(len("operator"), *(len(row["operator"]) for row in rows))
    head = f"{'operator':<{wide}}  " + "  ".join(HEADINGS[s] for s in shown)
    lines = [head]
    for row in rows:
        cells = (f"{row[s] or '.':>{len(HEADINGS[s])}}" for s in shown)
        lines.append(f"{row['operator']:<{wide}}  " + "  ".join(cells))
    return "\n".join(lines)


def _survivor(n: int, result: Result, outcome: Outcome) -> str:
    m = result.mutant
    lines = [f"--- {n}. {m.operator} in {m.method}, line {m.first}  [{m.id}] "]
    lines[0] += "-" * max(0, WIDTH - len(lines[0]))
    lines += [_cut(line) for line in m.diff.splitlines()[2:]]
    many = len(outcome.reached)
    judges = (
        (f"none of your {many} tests noticed" if many > 1 else "your test did not notice")
        if outcome.command
        else f"{' and '.join(outcome.detectors)} did not notice"
    )
    if result.witness:
        share = f"differs on {result.wrong + result.raised} of {result.probes} probes"
        lines.append(_wrapped(f"{result.witness}; {judges} ({share})."))
    elif outcome.probes:
        lines.append(_wrapped(f"{judges}; the probes could not be asked: {result.words}."))
    else:
        lines.append(_wrapped(f"{judges}."))
    if result.test:
        lines += ["", "a test that notices it:", "", textwrap.indent(result.test.rstrip(), "    ")]
    return "\n".join(lines)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
