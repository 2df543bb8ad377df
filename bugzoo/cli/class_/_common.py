"""What the verbs of a class share: roster, plan, secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bugzoo.learn.classroom.plan import Learner, Plan


def given(command: Callable[..., Any]) -> Callable[..., Any]:
    """--roster, --plan, --secret-file."""
    for option in (
        click.option(
            "--secret-file",
            "secret",
            required=True,
            metavar="FILE",
            help="The secret of the class.",
        ),
        click.option(
            "--plan", required=True, metavar="FILE", help="plan.toml: a [[slot]] an exercise."
        ),
        click.option("--roster", required=True, metavar="FILE", help="CSV: learner, team."),
    ):
        command = option(command)
    return command


def read(roster: str, plan: str, secret: str) -> tuple[bytes, Plan, tuple[Learner, ...]]:
    """All three, or a UserError that says which is wrong."""
    from bugzoo.learn.classroom import plan as plans

    ready()
    key = plans.secret(Path(secret))
    return key, plans.read(Path(plan)), plans.roster(Path(roster))


def ready() -> None:
    import torch

    torch.set_num_threads(1)
