"""bugzoo show: one specimen with its label, diff and witness, or one detector."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from bugzoo.cli import _shared
from bugzoo.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from bugzoo.model import Detector, Specimen


@click.command("show", short_help="A specimen: label, diff, witness. Or a detector.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One object.")
@_shared.files
def command(
    name: str,
    as_json: bool,
    specimens: tuple[str, ...],
    detectors: tuple[str, ...],
    keep_going: bool,
) -> None:
    """Show the specimen or detector called NAME, e.g. layer_norm/batch_mean or gradcheck."""
    found = _shared.load(specimens, detectors, keep_going)
    if name in found.specimens:
        s = found.specimens[name]
        _specimen_json(s, found.specimens[s.base]) if as_json else _specimen(
            s, found.specimens[s.base]
        )
    elif name in found.detectors:
        _detector(found.detectors[name], as_json)
    else:
        near = did_you_mean(name, [*found.specimens, *found.detectors])
        raise UserError(f"unknown specimen or detector '{name}'.{near} 'bugzoo list' shows all.")


def _specimen(s: Specimen, base: Specimen) -> None:
    from rich.padding import Padding
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    from bugzoo import source
    from bugzoo.oracle.claims import claims

    out = _shared.console()
    out.print(Text(s.id, style="bold"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    if s.label:
        facts.add_row("wrong", s.label.wrong)
        facts.add_row("family", s.label.family)
        facts.add_row("shows in", s.label.channel)
        facts.add_row(
            "seen", "\n".join(s.label.seen) or "taught, or invented: no real occurrence known"
        )
        story = _story(s)
        if story:
            facts.add_row("story", story)
    elif s.truth.looks:
        facts.add_row("looks", s.truth.looks)
        facts.add_row("right", s.truth.right)
    else:
        facts.add_row("twin", "correct")
    facts.add_row("file", s.path)
    out.print(facts)
    text = source.diff(base.cls, s.cls) if s.label else source.standalone(s.cls, s.cls.__name__)
    lexer = "diff" if s.label else "python"
    out.print(Padding(Syntax(text, lexer, theme="ansi_dark", background_color="default"), (1, 0)))
    witness = Table(box=None, pad_edge=False)
    for heading in ("case", "label says", "the oracle sees"):
        witness.add_column(heading, overflow="fold")
    for claim in claims(s):
        seen = claim.words if claim.holds else f"LIE: {claim.words}"
        witness.add_row(claim.case, claim.says or "-", seen)
    out.print(witness)


def _specimen_json(s: Specimen, base: Specimen) -> None:
    from dataclasses import asdict

    from bugzoo import source
    from bugzoo.cli.list import _row
    from bugzoo.oracle.claims import claims

    shown = _row(s) | {
        "story": _story(s),
        "diff": source.diff(base.cls, s.cls) if s.label else "",
        "source": source.standalone(s.cls, base.cls.__name__),
        "claims": [asdict(c) for c in claims(s)],
    }
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


def _detector(d: Detector, as_json: bool) -> None:
    fields = {
        "id": d.name,
        "about": d.doc,
        "needs": ", ".join(d.needs),
        "claims": ", ".join(d.claims),
        "cost": d.cost,
        "blind to": d.blind_to,
        "file": d.path,
    }
    if as_json:
        click.echo(json.dumps(fields | {"thresholds": dict(d.thresholds)}, indent=2))
        return
    click.echo(f"{d.name}\n\n{d.doc}\n")
    for name in ("needs", "claims", "cost", "blind to", "file"):
        click.echo(f"{name:<10}{fields[name]}")
    for name, origin in d.thresholds.items():
        click.echo(f"threshold {name}  ({origin})")


def _story(s: Specimen) -> str:
    import inspect

    own = s.cls.__dict__.get("__doc__")
    return " ".join(inspect.cleandoc(own).split()) if own else ""
