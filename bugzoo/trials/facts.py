"""What is stored of a specimen and of a detector, so that every report can be made without them."""

import inspect
from typing import Any

from bugzoo import source
from bugzoo.catalog import Catalog
from bugzoo.errors import SpecimenError
from bugzoo.model import COTANGENTS, Case, Context, Detector, Specimen


def of_specimen(catalog: Catalog, specimen: Specimen) -> dict[str, Any]:
    """Label, code and cases; the code bears the name of the correct class, whichever twin it is."""
    label, truth = specimen.label, specimen.truth
    base = catalog.specimens.get(specimen.base, specimen).cls
    found = {
        "kind": specimen.kind,
        "twin": specimen.twin,
        "group": specimen.group,
        "file": specimen.file,
        "base": specimen.base,
        "operator": specimen.operator,
        "family": label.family if label else "",
        "channel": label.channel if label else "",
        "wrong": label.wrong if label else "",
        "story": inspect.cleandoc(specimen.cls.__doc__ or ""),
        "shown_by": list(label.shown_by) if label else [],
        "hidden_by": list(label.hidden_by) if label else [],
        "seen": list(label.seen if label else truth.seen),
        "looks": truth.looks if not label else "",
        "right": truth.right if not label else "",
        "cases": [{"name": c.name, "about": about(c)} for c in specimen.cases],
    }
    try:
        text = source.standalone(specimen.cls, base.__name__)
        diff = source.diff(base, specimen.cls) if label else ""
        wrong_lines = source.wrong_lines(base, specimen.cls) if label else []
    except (SpecimenError, OSError):
        text, diff, wrong_lines = "", "", []
    return found | {"diff": diff, "text": text, "wrong_lines": wrong_lines}


def of_detector(detector: Detector) -> dict[str, Any]:
    """What the author declares."""
    return {
        "needs": list(detector.needs),
        "claims": list(detector.claims),
        "cost": detector.cost,
        "blind_to": detector.blind_to,
        "thresholds": dict(detector.thresholds),
        "doc": detector.doc,
        "peer": f"{detector.peer.name} {detector.peer.version}" if detector.peer else "",
    }


def about(case: Case | Context) -> str:
    """A case in a line: the cotangent of an operation, the options and length of a training run."""
    if isinstance(case, Context):
        options = [f"{k} = {getattr(v, '__name__', v)}" for k, v in case.options.items()]
        return ", ".join([*options, f"{case.steps} steps"])
    extras = f", called with {', '.join(map(repr, case.extras))}" if case.extras else ""
    return f"cotangent: {COTANGENTS[case.cotangent]}{extras}"
