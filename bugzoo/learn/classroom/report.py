"""What a class shows about its exercises: items, families, and where people looked for the line.

No torch: attempts.csv is enough, and a page that needs nothing from outside.
"""

import csv
import html
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from bugzoo.errors import UserError

HARD, EASY = 0.1, 0.95  # share solved below or above which an item is flagged
ITEMS = (
    "slot", "mode", "learners", "solved", "share", "discrimination", "minutes", "wrong_answers", "hints",
    "first_instrument", "flag",
)  # fmt: skip


def read(path: Path) -> list[dict[str, Any]]:
    """attempts.csv. UserError where it is none."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            found: list[dict[str, Any]] = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}. 'bugzoo class grade' writes it."
        ) from None
    if found and not {"learner", "slot", "share", "event"} <= set(found[0]):
        raise UserError(
            f"{path}: not the attempts.csv of 'bugzoo class grade': columns are missing."
        )
    if not found:
        raise UserError(f"{path}: holds no attempts.")
    return found


def items(attempts: list[dict[str, Any]], by_slot: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a slot: difficulty, discrimination (with the rest of the points), time, answers, hints."""
    total: Counter[str] = Counter()
    for row in by_slot:
        total[row["learner"]] += row["points"]
    made = []
    for slot in dict.fromkeys(r["slot"] for r in by_slot):
        mine = [r for r in by_slot if r["slot"] == slot]
        own = [r for r in attempts if r["slot"] == slot]
        points = [float(r["points"]) for r in mine]
        rest = [total[r["learner"]] - r["points"] for r in mine]
        solved = sum(bool(r["right"]) for r in mine)
        share = solved / len(mine)
        looks = Counter(_first(own))
        minutes = [m for m in map(_minutes, _by_learner(own).values()) if m > 0]
        made.append(
            {
                "slot": slot,
                "mode": mine[0]["mode"],
                "learners": len(mine),
                "solved": solved,
                "share": round(share, 3),
                "discrimination": _correlation(points, rest),
                "minutes": round(statistics.median(minutes), 1) if minutes else "",
                "wrong_answers": sum(_wrong(r) for r in own),
                "hints": sum(r["event"] == "hint" for r in own),
                "first_instrument": looks.most_common(1)[0][0] if looks else "",
                "flag": "nobody" if share <= HARD else "everybody" if share >= EASY else "",
            }
        )
    return made


def families(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a family: attempts and the share solved."""
    final = [r for r in attempts if r.get("share") not in (None, "")]
    made = []
    for family in sorted({r["family"] for r in final if r.get("family")}):
        mine = [r for r in final if r["family"] == family]
        solved = sum(r["right"] == "True" for r in mine)
        made.append(
            {
                "family": family,
                "graded": len(mine),
                "solved": solved,
                "share": round(solved / len(mine), 3),
            }
        )
    return made


def lines(attempts: list[dict[str, Any]]) -> dict[str, Counter[int]]:
    """Code of an exercise -> how often each line was answered."""
    found: dict[str, Counter[int]] = {}
    for row in attempts:
        if row["mode"] == "find" and row.get("line_answered"):
            found.setdefault(row["code"], Counter())[int(float(row["line_answered"]))] += 1
    return found


def page(
    title: str,
    made: list[dict[str, Any]],
    by_family: list[dict[str, Any]],
    answered: dict[str, Counter[int]],
    sources: dict[str, tuple[str, tuple[int, ...]]],
    scores: list[dict[str, Any]],
) -> str:
    """The page: scores by team, items, families, a heat map of answers over each program."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += ["<h2>Exercises</h2>", _table(made)]
    parts += ["<p>discrimination: correlation of an exercise's points with all other points. "
              "An exercise that nobody or everybody solves tells nothing.</p>"]  # fmt: skip
    parts += ["<h2>Families of mistakes</h2>", _table(by_family)] if by_family else []
    parts += ["<h2>Where the wrong line was looked for</h2>"] if answered else []
    for code, counts in sorted(answered.items()):
        text, true = sources.get(code, ("", ()))
        parts.append(_heat(code, counts, text, true))
    teams = _teams(scores)
    parts += ["<h2>Teams</h2>", _table(teams)] if teams else []
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;"
        "color:#1f2328;background:#fff}table{border-collapse:collapse}td,th{padding:.2em .8em;"
        "text-align:left;border-bottom:1px solid #d0d7de}pre{margin:0;font-size:13px}"
        ".n{color:#59636e;display:inline-block;width:4em;text-align:right;margin-right:1em}"
        ".t{outline:2px solid #1a7f37}h3{margin-bottom:.3em}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _heat(code: str, counts: Counter[int], text: str, true: tuple[int, ...]) -> str:
    most = max(counts.values())
    rows = []
    for n, line in enumerate(text.splitlines(), 1):
        count = counts.get(n, 0)
        shade = (
            f"background:rgba(207,34,46,{0.6 * count / most:.2f})"
            if count and n not in true
            else ""
        )
        shade = (
            f"background:rgba(26,127,55,{0.6 * count / most:.2f})" if count and n in true else shade
        )
        mark = ' class="t"' if n in true else ""
        rows.append(
            f'<pre{mark} style="{shade}"><span class="n">{count or ""} | {n}</span>{html.escape(line)}</pre>'
        )
    said = f"{sum(counts.values())} answers; the outlined lines are the right ones"
    return f"<h3>{html.escape(code)}</h3><p>{said}</p>{''.join(rows)}"


def _table(listed: list[dict[str, Any]]) -> str:
    columns = list(listed[0]) if listed else []
    head = "".join(f"<th>{html.escape(c.replace('_', ' '))}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(r.get(c, '')))}</td>" for c in columns) + "</tr>"
        for r in listed
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _teams(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, list[float]] = {}
    for row in scores:
        if row.get("team"):
            found.setdefault(str(row["team"]), []).append(float(row["points"]))
    return [
        {"team": t, "learners": len(p), "mean points": round(statistics.mean(p), 1)}
        for t, p in sorted(found.items())
    ]


def _by_learner(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["learner"], []).append(row)
    return found


def _minutes(rows: list[dict[str, Any]]) -> float:
    """From the start to the last event of the learner's own log."""
    spent = [float(r["seconds_since_start"]) for r in rows if r.get("seconds_since_start")]
    return max(spent, default=0.0) / 60


def _first(rows: list[dict[str, Any]]) -> list[str]:
    firsts = []
    for own in _by_learner(rows).values():
        bought = [r["instrument"] for r in own if r.get("instrument") and r["instrument"] != "loss"]
        firsts += bought[:1]
    return firsts


def _wrong(row: dict[str, Any]) -> bool:
    return row["event"] == "answer" and str(row.get("right")) != "True"


def _correlation(a: list[float], b: list[float]) -> float | str:
    if len(a) < 3 or len(set(a)) < 2 or len(set(b)) < 2:
        return ""
    return round(statistics.correlation(a, b), 2)
