"""bugzoo doctor: what this machine offers, and what would disturb a run."""

import json
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import click

from bugzoo import __version__, peers, shadow

PACKAGES = ["torch", "numpy", "pandas", "scikit-learn", "rich", "jinja2"]


@click.command("doctor", short_help="Versions, threads, and anything that would disturb a run.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def command(as_json: bool) -> None:
    """Print versions and threads; warn when another distribution has our import names. Exit 1 then."""
    import torch

    from bugzoo.oracle import heap

    facts: dict[str, object] = {"bugzoo": __version__, "python": platform.python_version()}
    facts["platform"] = platform.platform()
    facts |= {name: _version(name) for name in PACKAGES}
    facts["cores"] = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    )
    facts["torch threads"] = torch.get_num_threads()
    facts["a worker's threads"] = 1
    facts["cuda"] = torch.cuda.is_available()
    facts["counts heap bytes"] = heap.supported()
    facts["peers installed"] = ", ".join(peers.there()) or "none"
    facts["chromium (browser tests)"] = shutil.which("chromium") or "none"
    warnings = shadow.shadows()
    if not heap.supported():
        warnings.append("the C library has no mallinfo2: the memory channel is not examined here.")
    if as_json:
        click.echo(json.dumps({"facts": facts, "warnings": warnings}, indent=2))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            click.echo(f"{name:<{width}}  {value}")
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        if not warnings:
            click.echo("nothing would disturb a run")
    if shadow.shadows():
        raise SystemExit(1)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
