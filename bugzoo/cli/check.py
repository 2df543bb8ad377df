"""bugzoo check: is the backward pass of your own operation right?"""

from __future__ import annotations

import json
from typing import Any

import click

from bugzoo.errors import UserError, did_you_mean


@click.command("check", short_help="Examine the backward pass of your own operation.")
@click.argument("operation", metavar="FILE.py::FN")
@click.option(
    "--inputs",
    required=True,
    metavar="FILE.py::MAKER",
    help="A function of a seed that returns the inputs.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop after this time.",
)
@click.option(
    "--declare",
    multiple=True,
    metavar="WORD",
    help="straight_through or stop_gradient (repeatable).",
)
@click.option("--seed", default=0, show_default=True, help="Seed of inputs and probes.")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def command(
    operation: str,
    inputs: str,
    budget: float | None,
    declare: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> None:
    """Examine FN, a function, an autograd.Function or a module, at inputs derived from MAKER's.

    MAKER may name the file again, or be a plain name in the same file. Exit code 1 on a finding.
    """
    import torch

    from bugzoo.checkup.check import check

    torch.set_num_threads(1)
    fn = _named(operation, "operation")
    maker = _named(
        inputs if "::" in inputs else f"{operation.partition('::')[0]}::{inputs}", "--inputs"
    )
    if isinstance(fn, type) and issubclass(fn, torch.autograd.Function):
        fn = fn.apply
    elif isinstance(fn, type) and issubclass(fn, torch.nn.Module):
        fn = fn()
    found = check(fn, maker, budget=budget, declare=declare, seed=seed)
    click.echo(json.dumps(found.to_dict(), indent=2, default=str) if as_json else str(found))
    if not found.ok:
        raise SystemExit(1)


def _named(address: str, what: str) -> Any:
    """The object at 'file.py::name'; the file is run once, its folder importable meanwhile."""
    import importlib.util
    import sys
    from pathlib import Path

    file, mark, name = address.partition("::")
    if not mark or not name:
        raise UserError(f"{what} '{address}': expected FILE.py::NAME")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{what} '{address}': there is no file {path}")
    module_name = f"bugzoo_user_{path.stem}"
    module = sys.modules.get(module_name)
    if module is None or getattr(module, "__file__", None) != str(path.resolve()):
        spec = importlib.util.spec_from_file_location(module_name, path.resolve())
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        sys.path.insert(0, str(path.resolve().parent))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
        finally:
            sys.path.pop(0)
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            near = did_you_mean(part, [n for n in vars(thing) if not n.startswith("_")])
            raise UserError(f"{path} holds no '{part}'.{near}")
        thing = getattr(thing, part)
    return thing
