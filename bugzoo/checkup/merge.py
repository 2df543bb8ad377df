"""One finding for one defect: what the same cause explains becomes further evidence of the first."""

from __future__ import annotations

import re
from dataclasses import replace

from bugzoo.finding import ORDER, Finding

SLOPE = ("the gradient is not the derivative", "the gradient is nan", "the gradient is inf",
         "the gradient is -inf")  # fmt: skip
# A buffer handed out, or state outside ctx, shows itself in several uses.
EXPLAINS = (
    ("a gradient that was handed out changes",
     ("is not linear in the cotangent", "gradient stays alive", "a second backward with the same")),
    ("another call between forward and backward",
     ("edited in place between the passes", "a second backward with the same")),
    ("the gradient is nan", ("a zero cotangent gives",)),
)  # fmt: skip


def merged(findings: list[Finding]) -> list[Finding]:
    """The worst channels first; each defect once, by the first variation that showed it."""
    rest = sorted(findings, key=lambda f: ORDER.index(f.channel))
    kept: list[Finding] = []
    absorbed: set[int] = set()
    for n, finding in enumerate(rest):
        if n in absorbed:
            continue
        evidence = []
        for m, other in enumerate(rest):
            why = _explains(finding, other)
            if m != n and m not in absorbed and (why or (m > n and _same(finding, other))):
                absorbed.add(m)
                evidence.append(other)
        kept = [f for f in kept if not any(f is other for other in evidence)]
        kept.append(_with(finding, evidence))
    return kept


def _same(a: Finding, b: Finding) -> bool:
    alike = (a.channel, a.what.partition(":")[0], a.cause) == (
        b.channel, b.what.partition(":")[0], b.cause,
    )  # fmt: skip
    slopes = a.channel == b.channel == "value" and _leaf(a) == _leaf(b) != ""
    return alike or (slopes and all(f.what.startswith(SLOPE) for f in (a, b)))


def _leaf(f: Finding) -> str:
    return re.split(r"\[|;| = ", f.where)[0].strip()


def _explains(a: Finding, b: Finding) -> bool:
    return any(
        a.what.startswith(one) and any(w in b.what for w in others) for one, others in EXPLAINS
    )


def _with(finding: Finding, evidence: list[Finding]) -> Finding:
    told: dict[str, None] = {}
    for other in evidence:
        alike = other.what == finding.what
        if not alike or other.variation != finding.variation:
            told[other.variation if alike else f"{other.what} ({other.variation})"] = None
    return replace(finding, also="; ".join(list(told)[:3])) if told else finding
