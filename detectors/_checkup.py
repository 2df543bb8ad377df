"""A checkup's result as a verdict."""

from typing import Any

from torch import Generator

from bugzoo import Verdict, check
from bugzoo.errors import UserError
from bugzoo.subject import Subject

THRESHOLDS = {
    "30 x estimated error": "of two difference quotients with steps 1e-5 and 1e-6, and rounding",
}


def judged(subject: Subject, gen: Generator, **options: Any) -> Verdict:
    """bugzoo.check with these options: its first finding is the reason."""
    try:
        found = check(subject.op, subject.inputs(gen), declare=subject.declares, **options)
    except UserError as error:
        return Verdict("abstain", because=str(error))
    if found.ok:
        return Verdict("clear", 0.0, f"no defect on {len(found.done)} variations")
    first = found.findings[0]
    numbers = f": {first.yours:.6g}, true {first.true:.6g}" if first.yours and first.true else ""
    because = f"{first.channel}: {first.what}{numbers} ({first.variation})"
    return Verdict("alarm", first.error, because, first.where)
