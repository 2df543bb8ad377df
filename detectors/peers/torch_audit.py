"""torch-audit: autopatch(model, optimizer) audits every step at run time.

The alarm is a finding that fails its own run: ERROR or FATAL, its default fail_level. Warnings do not
count, as they do not for its exit code.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._training import STEPS, owned
from detectors.peers._driving import shown, untouched

PEER = Peer(
    "torch-audit",
    "0.3.0",
    "Run-time audit of a training loop: NaN, exploding and missing gradients, unused layers.",
    packages=("torch-audit==0.3.0",),
    imports=("torch_audit", "torch_audit.runtime"),
)


@detector(
    needs="training",
    claims="trajectory",
    cost=f"{STEPS} steps, with patches of forward and step",
    blind_to="every wrong gradient that is finite and there; memory; side effects",
    thresholds={"severity = ERROR, rank 2": "torch-audit, fail_level"},
    peer=PEER,
)
def torch_audit(subject: Subject, gen: Generator) -> Verdict:
    from torch_audit import autopatch

    with untouched(gen):
        run, auditors = subject.start(gen), []
        for model in run.models:
            held = {id(p) for p in model.parameters()}
            for optimizer in run.optimizers:
                if any(id(p) in held for p in owned(optimizer)):
                    auditors.append(autopatch(model, optimizer=optimizer, every_n_steps=1))
        for _ in range(STEPS):
            run.advance()
        found = []
        for auditor in reversed(auditors):
            result = auditor.finish()
            auditor.unpatch()
            found += [f for f in result.findings if f.severity.value in ("ERROR", "FATAL")]
    if found:
        because = (
            f"{len(found)} findings, expected 0; {found[0].rule_id}: {shown(found[0].message)}"
        )
        return Verdict("alarm", float(len(found)), because, str(found[0].entity or ""))
    return Verdict("clear", 0.0, f"0 findings of ERROR in {STEPS} steps")
