"""bugzoo peers: other projects' tools that run in the same table, each in packages of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bugzoo.cli import _shared
from bugzoo.errors import UserError

if TYPE_CHECKING:
    from bugzoo.catalog import Catalog


@click.group(
    "peers",
    invoke_without_command=True,
    short_help="Other projects' tools: list them, install them.",
)
@click.option("--json", "as_json", is_flag=True, help="An array of objects.")
@_shared.files
@click.pass_context
def command(
    ctx: click.Context,
    as_json: bool,
    specimens: tuple[str, ...],
    detectors: tuple[str, ...],
    keep_going: bool,
) -> None:
    """List the tools of other projects that detectors drive, and those that none can drive.

    \b
      bugzoo peers install torcheck torchtest    fetch these, each into a folder of its own
      bugzoo peers install --all                 all that can be

    $BUGZOO_CACHE says where they go; the default is ~/.cache/bugzoo.
    """
    ctx.obj = _shared.load(specimens, detectors, keep_going)
    if ctx.invoked_subcommand:
        return
    rows = [_row(ctx.obj, name) for name in sorted(ctx.obj.peers)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print(rows)


@command.command("install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every peer that can be installed.")
@click.option("--again", is_flag=True, help="Also those that are installed already.")
@click.pass_obj
def install(found: Catalog, names: tuple[str, ...], everything: bool, again: bool) -> None:
    """Fetch the peers called NAME with pip, each into a folder of its own."""
    from bugzoo import peers

    if everything == bool(names):
        raise UserError("expected names of peers, or --all. 'bugzoo peers' shows which there are.")
    drivable = sorted(n for n, p in found.peers.items() if not p.why_not)
    failed = []
    for peer in peers.chosen(found.peers, names or drivable):
        if peers.installed(peer) and not again:
            click.echo(f"{peer.name} {peer.version}: installed already")
            continue
        try:
            place = peers.install(peer, click.echo)
        except UserError as error:
            if not everything:
                raise
            failed.append(str(error))
            click.echo(str(error), err=True)
            continue
        click.echo(f"{peer.name} {peer.version}: installed in {place}")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(drivable)} peers could not be installed, see above."
        )


def _row(found: Catalog, name: str) -> dict[str, Any]:
    from bugzoo import peers

    peer = found.peers[name]
    by = [d.name for d in found.detectors.values() if d.peer == peer]
    return {
        "id": name,
        "version": peer.version,
        "about": peer.about,
        "detectors": sorted(by),
        "installed": peers.installed(peer),
        "why_not": peer.why_not,
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out = _shared.console()
    for r in rows:
        state = "installed" if r["installed"] else "not installed"
        state = f"no detector, {state}" if r["why_not"] else state
        head = Text(r["id"], style="bold")
        head.append(f" {r['version']}  ", style="not bold")
        head.append(state, style="not bold dim")
        out.print(head)
        words = f"{r['about']} {r['why_not']}".strip()
        out.print(Padding(Text(words), (0, 0, 0, 4)))
    driven = [r for r in rows if not r["why_not"]]
    ready, can = sum(r["installed"] for r in driven), len(driven)
    out.print(
        f"\n{ready} of {can} that a detector drives are installed. "
        f"'bugzoo peers install --all' installs the rest."
    )
