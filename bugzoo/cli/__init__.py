"""The command line: one file a verb. Nothing heavy is imported before a verb runs."""

import importlib
import os
import pkgutil
import sys
from typing import Any

import click

from bugzoo import __version__
from bugzoo.errors import UserError


class _Verbs(click.Group):
    """Finds the verbs in this folder: `run.py` holds the command `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"bugzoo.cli.{name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from bugzoo.errors import did_you_mean

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            near = did_you_mean(args[0], known)
            raise UserError(f"unknown command '{args[0]}'.{near} 'bugzoo --help' shows all.")
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bugzoo")
def cli() -> None:
    """A benchmark of buggy backward passes: which check catches which wrong gradient, at what cost.

    \b
      bugzoo run                     score every detector on every specimen
      bugzoo show layer_norm/batch_mean    a bug: its label, its diff, its witness
      bugzoo verify                  prove every claim of every label
    """


def main() -> None:
    """Entry point: mistakes of the user become one message and exit code 2."""
    try:
        code = cli.main(standalone_mode=False)
    except UserError as error:
        click.echo(f"bugzoo: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("bugzoo: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)
