"""The built-in detectors in the place of the user's tests."""

from typing import Any

import torch
from torch import Generator, Tensor

from bugzoo import catalog
from bugzoo.errors import UserError, did_you_mean
from bugzoo.model import Detector
from bugzoo.mutation.project.call import Call
from bugzoo.mutation.project.target import Target
from bugzoo.subject import Subject


def chosen(names: list[str]) -> list[Detector]:
    """Detectors by name, those that need an operation alone. UserError on another."""
    known = catalog.load().detectors
    for name in names:
        if name not in known:
            raise UserError(f"unknown detector '{name}'.{did_you_mean(name, known)}")
        if set(known[name].needs) - {"operation"}:
            needs = ", ".join(known[name].needs)
            raise UserError(f"detector '{name}' needs {needs}; here it is given an operation")
    return [known[name] for name in names]


def refuse_unfit(detectors: list[Detector], target: Target, calls: list[Call]) -> None:
    """UserError where there is nothing to look at, or a detector alarms on the unmutated code."""
    if not calls or not calls[0].copied().asking().leaves():
        raise UserError(
            f"no inputs for {target.name}: --inputs FILE::MAKER names a function of a seed that "
            "returns them,\nor give a test command after --"
        )
    for name, because in alarms(detectors, calls).items():
        raise UserError(f"{name} alarms on the unmutated {target.name}: {because}")


def alarms(detectors: list[Detector], calls: list[Call]) -> dict[str, str]:
    """The detectors that alarm on any of the calls, each with its reason."""
    found: dict[str, str] = {}
    for detector in detectors:
        for seed, call in enumerate(calls):
            verdict = detector(subject(call), torch.Generator().manual_seed(seed))
            if verdict.outcome == "alarm":
                found[detector.name] = verdict.because
                break
    return found


def subject(call: Call) -> Subject:
    """The call as a subject: its leaves are the inputs, all else stays as it was."""
    kept = _fitting(call)
    count = len(kept.leaves())

    def draw(gen: Generator) -> tuple[Tensor, ...]:
        return tuple(x for _, x in kept.copied().leaves()[:count])

    def op(*inputs: Tensor) -> Any:
        made = kept.copied()
        new = dict(zip((name for name, _ in made.leaves()), inputs))
        return made.with_leaves(new)()

    return Subject(op=op, draw=draw)


def _fitting(call: Call) -> Call:
    try:
        double = call.double().asking()
        double.copied()()
        return double
    except Exception:
        return call.copied().asking()
