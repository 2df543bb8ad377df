"""torchtest: every trained parameter changes in one step, and nothing is NaN or Inf.

torchtest runs a step itself: zero_grad, model(inputs), loss_fn(outputs, targets), backward, step. Here
one `advance` of the subject's run stands where it calls backward; its zero_grad and its step, which
the subject has of its own, do nothing. The NaN and Inf tests see the reported loss. The alarm is any
of its exceptions.
"""

from types import SimpleNamespace

import torch
from torch import Generator, nn

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors.peers._driving import raised_in, shown, together, untouched

PEER = Peer(
    "torchtest",
    "0.5",
    "The mltest suite for PyTorch: variables change, no NaN, no Inf.",
    packages=("torchtest==0.5",),
    imports=("torchtest",),
)


class _Stepper(nn.Module):
    """The run as a model whose output is the loss of the last step."""

    def __init__(self, run):
        super().__init__()
        self.run, self.body, self.loss = [run], together(run), 0.0

    def forward(self, x):
        return torch.tensor([self.loss])

    def backward(self):
        self.loss = self.run[0].advance()


@detector(
    needs="training",
    claims="trajectory",
    cost="1 step",
    blind_to="every gradient that is wrong and not zero; all that shows after the first step",
    thresholds={"changed = exact": "torch.equal before and after the step"},
    peer=PEER,
)
def torchtest(subject: Subject, gen: Generator) -> Verdict:
    import torchtest as tool

    with untouched(gen):
        model = _Stepper(subject.start(gen))
        optimizer = SimpleNamespace(zero_grad=lambda: None, step=lambda: None)
        batch = [torch.zeros(1), torch.zeros(1)]
        try:
            tool.test_suite(
                model,
                lambda *_: model,  # what it calls backward of
                optimizer,
                batch,
                test_vars_change=True,
                test_nan_vals=True,
                test_inf_vals=True,
            )
        except Exception as error:
            if not raised_in(error, "torchtest"):
                raise
            return Verdict("alarm", float("inf"), f"1 test failed: {shown(str(error))}")
    return Verdict("clear", 0.0, "0 of 3 tests failed")
