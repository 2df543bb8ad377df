"""The command line: one file a verb. Nothing heavy is imported before a verb runs."""

import os
import sys

import click

from bugzoo import __version__
from bugzoo.cli._group import Verbs
from bugzoo.errors import UserError


class _Bugzoo(Verbs):
    """The verbs of this folder; a verb with verbs of its own is a folder."""

    package, home = __name__, __path__


@click.group(cls=_Bugzoo, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bugzoo")
def cli() -> None:
    """A benchmark of buggy backward passes: which check catches which wrong gradient, at what cost.

    \b
      bugzoo run                     score every detector on every specimen
      bugzoo show layer_norm/batch_mean    a bug: its label, its diff, its witness
      bugzoo verify                  prove every claim of every label
      bugzoo learn                   the school: find, repair and detect wrong gradients
    """


def _folded(said: str) -> str:
    """On a terminal a long message breaks between words; in a pipe or a log it stays one line."""
    if not sys.stderr.isatty():
        return said
    import textwrap

    kept = {"width": 78, "break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.fill(s, **kept) or s for s in said.split("\n"))  # type: ignore[arg-type]


def main() -> None:
    """Entry point: mistakes of the user become one message and exit code 2."""
    try:
        code = cli.main(standalone_mode=False)
    except UserError as error:
        click.echo(_folded(f"bugzoo: {error}"), err=True)
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
