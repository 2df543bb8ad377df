"""torchdiag's check_gradients, called as it asks: after backward, before the optimizer's step.

For each optimizer that steps, the models that hold its parameters are checked. The alarm is a status
other than OK: NO GRAD, VANISH, EXPLODE. Its verify_step makes a step of its own and is not used.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, owned
from detectors.peers._driving import untouched

PEER = Peer(
    "torchdiag",
    "0.1.0",
    "Prints the health of gradients, neurons and memory.",
    packages=("torchdiag==0.1.0",),
    imports=("torchdiag",),
)


@detector(
    needs="training",
    claims="trajectory",
    cost=f"{STEPS} steps, 3 numbers fetched a parameter",
    blind_to="every wrong gradient between 1e-7 and 100; memory; side effects",
    thresholds={"vanish below 1e-7": "torchdiag", "explode above 100": "torchdiag"},
    peer=PEER,
)
def torchdiag(subject: Subject, gen: Generator) -> Verdict:
    import torchdiag as tool

    bad: list[tuple[int, str, str]] = []
    with untouched(gen) as said:
        run, step = subject.start(gen), 0

        def look(optimizer, *_):
            mine = {id(p) for p in owned(optimizer)}
            for model in run.models:
                if any(id(p) in mine for p in model.parameters()):
                    for name, about in tool.check_gradients(model).items():
                        if about["status"] != "OK":
                            bad.append((step, name, f"{about['status']} {about.get('max', '')}"))
            said.truncate(0)

        with hooked([o.register_step_pre_hook(look) for o in run.optimizers]):
            while step < STEPS:
                run.advance()
                step += 1
    if bad:
        first, name, status = bad[0]
        because = f"{len(bad)} issues, expected 0; step {first}: {name} {status}"
        return Verdict("alarm", float(len(bad)), because, name)
    return Verdict("clear", 0.0, f"0 issues in {STEPS} steps")
