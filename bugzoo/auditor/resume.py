"""Does a run that is saved and loaded go on as if nothing had happened?

    2 steps, state_dict, 2 steps      against      a fresh build, load_state_dict, the last 2 steps

Asked of runs that say how they are saved: an object with .step(), .state_dict() and .load_state_dict().
The random state is put back as it was; where the data come from is the run's own affair.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bugzoo.auditor.program import Program
from bugzoo.auditor.walk import Walk, walk
from bugzoo.errors import named
from bugzoo.finding import Finding, Note

CALLS = 2  # of .step() before and after the save
ROOM = 1e-6  # of the way


def examine(program: Program) -> Iterator[Finding | Note]:
    """A finding where steps are told their number; else the place in the data may be the reason: a note."""
    if not program.saves:
        return
    saved: dict[str, Any] = {}

    def through(count: Callable[[], int]) -> None:
        run, step = program.build()
        for n in range(2 * CALLS):
            if n == CALLS:
                saved["state"] = copy.deepcopy(run.state_dict())
                saved["random"] = torch.get_rng_state()
            step(n)

    def resumed(count: Callable[[], int]) -> None:
        run, step = program.build()
        run.load_state_dict(copy.deepcopy(saved["state"]))
        torch.set_rng_state(saved["random"])
        for n in range(CALLS, 2 * CALLS):
            step(n)

    try:
        whole = _walked(program, through)
        gap = whole.apart(_walked(program, resumed))
        if gap <= ROOM or whole.apart(_walked(program, through)):
            return
    except Exception as error:
        yield Note("skipped", f"saving and loading: {named(error)}")
        return
    said = (
        f"after .load_state_dict() {CALLS} steps lead elsewhere, {gap:.3g} of the whole way apart"
    )
    if program.numbered:
        yield Finding(
            "trajectory", "a resumed run does not go on as the run that was saved", said, step=CALLS + 1,
            cause="the state leaves something out (an optimizer's or a schedule's state, a buffer, an "
            "average), or does not load it back",
        )  # fmt: skip
    else:
        yield Note("intent", f"{said}: something is not saved, if not the place in the data")


def _walked(program: Program, drive: Callable[[Callable[[], int]], None]) -> Walk:
    return walk(program, None, drive)
