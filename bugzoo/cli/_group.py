"""A group of verbs whose files lie in one folder: `FOLDER/run.py` holds the command `run`.

A folder or file with a trailing underscore holds the command without it: `class_` is `class`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any

import click

from bugzoo.errors import UserError, did_you_mean


class Verbs(click.Group):
    """Finds its verbs in the folder `home` of the package `package`."""

    package = ""
    home: Iterable[str] = ()

    def files(self) -> dict[str, str]:
        names = (m.name for m in pkgutil.iter_modules(self.home) if not m.name.startswith("_"))
        return {name.rstrip("_"): name for name in sorted(names)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.files())

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        file = self.files().get(name)
        return importlib.import_module(f"{self.package}.{file}").command if file else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.files() and not args[0].startswith("-"):
            path = ctx.command_path.removeprefix("bugzoo").removeprefix("cli").strip()
            said = f"{path} {args[0]}".strip()
            near = did_you_mean(args[0], self.files())
            whole = f"bugzoo {path} --help".replace("  ", " ")
            raise UserError(f"unknown command '{said}'.{near} '{whole}' shows all.")
        return super().resolve_command(ctx, args)


def folder(
    package: str, home: Iterable[str], *, name: str, short_help: str, about: str, **more: Any
) -> Verbs:
    """The group of the verbs in a folder."""
    made = Verbs(name=name, short_help=short_help, help=about, **more)
    made.package, made.home = package, home
    return made
