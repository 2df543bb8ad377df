"""torcheck: after every optimizer step all trained parameters have changed and none is NaN or Inf.

Its optimizers are registered, its models added with the three checks that its README begins with. The
alarm is the RuntimeError that it raises: a parameter that should change did not, NaN, Inf, or a
trained tensor that belongs to no optimizer.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._training import STEPS
from detectors.peers._driving import raised_in, shown, untouched

PEER = Peer(
    "torcheck",
    "1.0.1",
    "Sanity checks in a running loop: parameters change, nothing is NaN or Inf.",
    packages=("torcheck==1.0.1",),  # its own requirement, torch < 2, is not followed
    imports=("torcheck",),
)


@detector(
    needs="training",
    claims="trajectory",
    cost=f"{STEPS} steps, a copy of every parameter a step",
    blind_to="every gradient that is wrong and not zero; memory; side effects",
    thresholds={"changed = exact": "torch.equal before and after the step"},
    peer=PEER,
)
def torcheck(subject: Subject, gen: Generator) -> Verdict:
    from torcheck.registry import Registry

    with untouched(gen):
        run, registry = subject.start(gen), Registry()
        try:
            for optimizer in run.optimizers:
                registry.register(optimizer)
            for n, model in enumerate(run.models):
                for name, p in model.named_parameters():
                    if p.requires_grad:
                        registry.add_tensor(
                            p, name, f"{n}", changing=True, check_nan=True, check_inf=True
                        )
                registry._add_output_check(model, f"{n}", check_nan=True, check_inf=True)
            for _ in range(STEPS):
                run.advance()
        except RuntimeError as error:
            if not raised_in(error, "torcheck"):
                raise
            said = [line for line in str(error).splitlines() if line.strip()]
            return Verdict("alarm", float("inf"), f"1 error or more: {shown(said[-1])}")
    return Verdict("clear", 0.0, f"0 errors in {STEPS} steps")
