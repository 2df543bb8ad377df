"""torchtest2's check_model, with gradcheck=True as it advises for models with custom Functions.

The operation is the model, its differentiable inputs are the batch; there is no loss, so its gradient
checks use a random projection of the outputs. The inputs have no batch dimension, and input_dependency is
skipped: an operation, unlike a model, may well ignore some elements, as relu does. Its own training step
is not the subject's, so training loops are not handed to it. The alarm is a check with the status FAIL;
warnings are none.
"""

from torch import Generator, nn

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._difference import point
from detectors.peers._driving import of_leaves, shown, untouched

PEER = Peer(
    "torchtest2",
    "0.1.0",
    "Pre-train checks of a model: gradient flow, parameters change, gradcheck, overfitting.",
    packages=("torchtest2==0.1.0",),
    imports=("torchtest2",),
)


class _Model(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, *leaves):
        out = self.f(*leaves)
        return out[0] if len(out) == 1 else out


@detector(
    claims=("value", "contract"),
    cost="2 n F + 2 m B, and about 30 passes more",
    blind_to="what gradcheck is blind to; side effects; leaks; training loops",
    thresholds={
        "eps = 1e-6": "torchtest2",
        "atol = 1e-4": "torchtest2",
        "rtol = 1e-3": "torch's own",
    },
    peer=PEER,
)
def torchtest2(subject: Subject, gen: Generator) -> Verdict:
    import torchtest2 as tool

    at = point(subject, gen)
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    with untouched(gen):
        model = _Model(of_leaves(subject, at.inputs))
        batch = tuple(x.detach().clone() for x in at.wrt)
        report = tool.check_model(
            model, batch, gradcheck=True, batch_dim=None, skip=["input_dependency"]
        )
    failed = [r for r in report.results if r.status is tool.Status.FAIL]
    if failed:
        because = f"{len(failed)} checks failed: {failed[0].name}: {shown(failed[0].message)}"
        return Verdict("alarm", float(len(failed)), because, failed[0].name)
    return Verdict("clear", 0.0, f"0 of {len(report.results)} checks failed")
