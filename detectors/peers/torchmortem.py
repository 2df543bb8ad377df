"""torchmortem: an Autopsy of each model of the run, default sampling; `step(loss=...)` after every step.

The alarm is a finding of the severity WARNING or CRITICAL: vanishing or exploding gradients, saturation,
dead units, update ratios, loss dynamics, rank collapse, weight norms, gradient noise.
"""

from contextlib import ExitStack

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._training import STEPS, owned
from detectors.peers._driving import shown, untouched

PEER = Peer(
    "torchmortem",
    "0.1.1",
    "A post-mortem of a training run from hooks: gradients, activations, weights, loss.",
    packages=("torchmortem==0.1.1", "plotly==6.3.0", "narwhals==2.29.0"),
    imports=("torchmortem",),
)


@detector(
    needs="training",
    claims="trajectory",
    cost=f"{STEPS} steps, with hooks on every layer",
    blind_to="every wrong gradient that looks healthy; memory; side effects",
    thresholds={"severity = 1, WARNING": "torchmortem's own severities, at its default thresholds"},
    peer=PEER,
)
def torchmortem(subject: Subject, gen: Generator) -> Verdict:
    import atexit

    from torchmortem import Autopsy
    from torchmortem.types import Severity

    with untouched(gen):
        run = subject.start(gen)
        autopsies = []
        for model in run.models:
            held = {id(p) for p in model.parameters()}
            mine = [o for o in run.optimizers if any(id(p) in held for p in owned(o))]
            autopsies.append(Autopsy(model, optimizer=mine[0] if mine else None))
        with ExitStack() as stack:
            for autopsy in autopsies:
                stack.enter_context(autopsy)
            for _ in range(STEPS):
                loss = run.advance()
                for autopsy in autopsies:
                    autopsy.step(loss=loss)
        for autopsy in autopsies:
            atexit.unregister(autopsy._atexit_handler)
        found = [
            f for a in autopsies for f in a.get_report().findings if f.severity >= Severity.WARNING
        ]
    if found:
        worst = max(found, key=lambda f: f.severity)
        because = (
            f"{len(found)} findings, expected 0; {worst.severity.name}: {shown(worst.summary)}"
        )
        return Verdict("alarm", float(len(found)), because, ", ".join(worst.affected_layers[:3]))
    return Verdict("clear", 0.0, f"0 findings in {STEPS} steps")
