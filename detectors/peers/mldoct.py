"""mldoct (`mldoctor check`): a linter for training scripts; the alarm is anything above INFO."""

import tempfile
from pathlib import Path

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors.peers._driving import shown

PEER = Peer(
    "mldoct",
    "1.0.0",
    "A linter, watchdog and tuner for training scripts; its linter is used.",
    packages=("mldoct==1.0.0",),
    imports=("mldoctor.linter",),
)


@detector(
    needs="source",
    claims=("trajectory", "memory"),
    cost="no pass at all",
    blind_to="every wrong formula; what is dynamic; whatever has no rule",
    thresholds={"severity above INFO, 0 allowed": "mldoct prints the rest in blue, as advice"},
    peer=PEER,
)
def mldoct(subject: Subject, gen: Generator) -> Verdict:
    from mldoctor.linter import lint_script

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.py"
        file.write_text(subject.source)
        findings, _ = lint_script(str(file))
    found = [f for f in findings if f["severity"] != "INFO"]
    if found:
        first = found[0]
        because = (
            f"{len(found)} findings, expected 0; {first['severity']}: {shown(first['message'])}"
        )
        return Verdict("alarm", float(len(found)), because, f"line {first['line']}")
    return Verdict("clear", 0.0, f"0 findings in {len(subject.source.splitlines())} lines")
