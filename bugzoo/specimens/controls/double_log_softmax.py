"""Log-softmax applied twice.

y = log_softmax(log_softmax(x))                  x, y: (n, c)
"""

from torch.nn import functional as F

from bugzoo import Composite, control
from bugzoo.cases import consumed, normal


def reference(x):
    return F.log_softmax(x, -1)


ROWS = normal("rows", (4, 5))


@control(
    looks="the logits are normalised twice before they reach the loss",
    right="log-probabilities are normalised already: the second time changes nothing",
    cases=[
        ROWS,
        normal("large_logits", (4, 5), scale=30.0),
        consumed(ROWS, "ones", "summed_loss"),
    ],
    reference=reference,
    twice=True,
)
class DoubleLogSoftmax(Composite):
    @staticmethod
    def forward(x):
        return F.log_softmax(F.log_softmax(x, -1), -1)
