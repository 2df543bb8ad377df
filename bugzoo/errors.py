"""Mistakes of the user, said in at most three lines: what, where, got, expected, remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake that the user can mend. The command line prints it without a traceback, exit code 2."""


class SpecimenError(UserError):
    """A specimen file whose label or code cannot be used as it stands."""


class DetectorError(UserError):
    """A detector file, or a detector's answer, that cannot be used as it stands."""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """' Did you mean a or b?', or '' when nothing is near."""
    near = get_close_matches(got, list(known), n=3, cutoff=0.55)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return str(error).strip().partition("\n")[0]


def named(error: BaseException) -> str:
    """Its type and its first line."""
    return f"{type(error).__name__}: {first_line(error)}"
