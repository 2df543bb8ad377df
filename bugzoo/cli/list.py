"""bugzoo list: what is in the zoo."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bugzoo.cli import _shared

if TYPE_CHECKING:
    from bugzoo.catalog import Catalog
    from bugzoo.model import Specimen

WHAT = ["specimens", "detectors", "families", "channels", "reports"]


@click.command("list", short_help="What is in the zoo: specimens, detectors, families, reports.")
@click.argument("what", type=click.Choice(WHAT), default="specimens")
@click.option("--all", "everything", is_flag=True, help="The correct twins too.")
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
@_shared.files
def command(
    what: str,
    everything: bool,
    as_json: bool,
    specimens: tuple[str, ...],
    detectors: tuple[str, ...],
    keep_going: bool,
) -> None:
    """List WHAT is in the zoo: specimens (the default), detectors, families, channels or reports."""
    if what in ("families", "channels"):
        from bugzoo.model import CHANNELS, FAMILIES

        words = FAMILIES if what == "families" else CHANNELS
        rows = [{"id": name, "about": about} for name, about in words.items()]
    elif what == "reports":
        from reports import _scan

        rows = [{"id": name, "about": t.sentence} for name, t in _scan.tables().items()]
    else:
        found = _shared.load(specimens, detectors, keep_going)
        rows = _detectors(found) if what == "detectors" else _specimens(found, everything)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print(what, rows)


def _specimens(found: Catalog, everything: bool) -> list[dict[str, Any]]:
    listed = [s for s in found.specimens.values() if everything or s.twin != "correct"]
    return [_row(s) for s in sorted(listed, key=lambda s: (s.twin, s.group, s.id))]


def _row(s: Specimen) -> dict[str, Any]:
    label = s.label
    return {
        "id": s.id,
        "kind": s.kind,
        "group": s.group,
        "twin": s.twin,
        "control": s.twin in ("control", "sick"),
        "family": label.family if label else "",
        "channel": label.channel if label else "",
        "wrong": label.wrong if label else "",
        "looks": s.truth.looks,
        "right": s.truth.right,
        "seen": list(label.seen if label else s.truth.seen),
        "cases": [c.name for c in s.cases],
        "shown_by": list(label.shown_by) if label else [],
        "hidden_by": list(label.hidden_by) if label else [],
    }


def _detectors(found: Catalog) -> list[dict[str, Any]]:
    return [
        {
            "id": d.name,
            "needs": list(d.needs),
            "claims": list(d.claims),
            "cost": d.cost,
            "blind_to": d.blind_to,
            "thresholds": dict(d.thresholds),
            "about": d.doc.partition("\n")[0],
            "peer": f"{d.peer.name} {d.peer.version}" if d.peer else "",
        }
        for d in sorted(found.detectors.values(), key=lambda d: d.name)
    ]


def _print(what: str, rows: list[dict[str, Any]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out = _shared.console()
    for r in rows:
        if what == "specimens":
            facts = [r["family"] or r["twin"], r["channel"]]
            about = r["wrong"] or (f"looks: {r['looks']}" if r["control"] else "")
        elif what == "detectors":
            facts = [f"needs {', '.join(r['needs'])}", r["cost"]]
            facts += [f"peer {r['peer']}"] if r["peer"] else []
            about = f"{r['about']} Blind to {r['blind_to']}."
        else:
            facts, about = [], r["about"]
        head = Text(r["id"], style="bold")
        head.append("  " + " · ".join(f for f in facts if f), style="not bold dim")
        out.print(head)
        if about:
            out.print(Padding(Text(about), (0, 0, 0, 4)))
    if what == "specimens":
        bugs = sum(r["twin"] == "broken" for r in rows)
        controls = sum(r["control"] for r in rows)
        out.print(f"\n{bugs} bugs, {controls} controls. 'bugzoo show ID' prints one.")
    elif what == "detectors":
        out.print(f"\n{len(rows)} detectors. 'bugzoo show NAME' prints one.")
