"""Every claim of every label, decided by the oracle.

A broken twin must be awake in its label's channel where `shown_by` says so, and equal in every
channel where `hidden_by` says so. A correct twin or a control must be equal everywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bugzoo.model import Specimen
from bugzoo.oracle.judge import SEEDS, Finding, judge


@dataclass(frozen=True)
class Claim:
    """What is said of a specimen in a case, whether it holds, and the witness in words."""

    specimen: str
    case: str
    says: str  # 'shown', 'hidden', 'right', or '' for a case about which nothing is claimed
    holds: bool
    words: str


def claims(specimen: Specimen, seeds: int = SEEDS) -> Iterator[Claim]:
    """Judge every case of the specimen and compare with what its label says."""
    for case in specimen.cases:
        yield claim(specimen, judge(specimen, case, seeds))


def claim(specimen: Specimen, finding: Finding) -> Claim:
    """What the label says about the case of the finding, and whether the finding bears it out."""
    says = _says(specimen, finding.case)
    holds = _holds(specimen, says, finding)
    return Claim(specimen.id, finding.case, says, holds, words(finding))


def words(finding: Finding) -> str:
    """The witnesses of a finding in one line, or on how many probes it is equal."""
    shown = [f"{w.channel}, {w.probe}: {w.words}" for w in finding.witnesses if w.awake]
    if shown:
        return " | ".join(shown)
    plural = "s" if finding.probes > 1 else ""
    return f"equal on {finding.probes} probe{plural} in {len(finding.witnesses)} channels"


def _says(specimen: Specimen, case: str) -> str:
    if specimen.label is None:
        return "right"
    if case in specimen.label.shown_by:
        return "shown"
    return "hidden" if case in specimen.label.hidden_by else ""


def _holds(specimen: Specimen, says: str, finding: Finding) -> bool:
    if says == "shown":
        assert specimen.label is not None
        return specimen.label.channel in finding.awake
    return not finding.awake if says in ("hidden", "right") else True
