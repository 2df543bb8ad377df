"""torch-preflight: its rules on the text alone; the alarm is an error, which its default --fail-on takes."""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors.peers._driving import shown

PEER = Peer(
    "torch-preflight",
    "0.5.0",
    "A linter with dataflow: retained graphs, missing zero_grad, unscaled accumulation.",
    packages=("torch-preflight==0.5.0", "libcst==1.5.1", "pyyaml==6.0.3"),
    imports=("torch_preflight",),
)


@detector(
    needs="source",
    claims=("trajectory", "memory"),
    cost="no pass at all",
    blind_to="every wrong formula; what is dynamic; whatever has no rule",
    thresholds={"severity = error, 0 allowed": "torch-preflight, --fail-on"},
    peer=PEER,
)
def torch_preflight(subject: Subject, gen: Generator) -> Verdict:
    from torch_preflight import Config, check_source

    diagnostics, _ = check_source("train.py", subject.source)
    limit = Config().fail_on.rank
    found = [d for d in diagnostics if d.severity.rank >= limit]
    if found:
        because = f"{len(found)} errors, expected 0; {found[0].code}: {shown(found[0].message)}"
        return Verdict("alarm", float(len(found)), because, f"line {found[0].line}")
    return Verdict("clear", 0.0, f"0 errors in {len(subject.source.splitlines())} lines")
