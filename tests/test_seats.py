"""The training view: an operation in its seat trains like its reference there."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from bugzoo import seats
from bugzoo.model import TRAINED
from bugzoo.oracle.judge import judge
from bugzoo.subject import subject

SEATS = {
    "hidden": (seats.hidden(), torch.tanh),
    "hidden, residual": (seats.hidden(residual=True), torch.relu),
    "hidden, kept positive": (seats.hidden(before=F.softplus), torch.log),
    "hidden, one vector": (seats.hidden((32,)), torch.mul),
    "hidden, a linear layer": (seats.hidden((32, 32), (32,)), lambda h, w, b: h @ w + b),
    "pair": (seats.pair(), lambda h, k: h * k),
    "convolved": (
        seats.convolved(),
        lambda h, w: F.conv1d(h[:, None], w[None, None])[:, 0],
    ),
    "pair, one to two": (seats.pair(before=seats.one_to_two), torch.div),
    "hidden, averaged": (seats.hidden(before=seats.averaged), lambda h: h.cumsum(-1)),
    "loss": (seats.loss(), F.cross_entropy),
    "loss, one-hot": (seats.loss(one_hot=True), lambda z, t: -(t * z.log_softmax(-1)).sum(-1)),
    "loss, log-probabilities": (seats.loss(log_probabilities=True), F.nll_loss),
    "log_scores": (seats.log_scores(), lambda z: z.log_softmax(-1)),
    "tokens": (seats.tokens(), F.scaled_dot_product_attention),
    "table": (seats.table(), lambda t, i: t[i]),
    "images": (seats.images(16), lambda h: F.max_pool2d(h[:, None], 2)),
    "network": (
        seats.network((64, 10), (10,)),
        lambda x, y, w, b: F.cross_entropy(x @ w + b, y),
    ),
}


@pytest.mark.parametrize("name", SEATS)
def test_every_seat_trains(name):
    """The loss falls and every parameter gets a gradient."""
    seat, op = SEATS[name]
    run = seats.Seated(torch.Generator().manual_seed(0), op=op, seat=seat, **TRAINED.options)
    losses = [run.advance() for _ in range(30)]

    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in run.model.parameters())


def test_a_wrong_layer_leaves_the_textbook_and_the_right_one_does_not(zoo):
    """The oracle sees the op-level bug in the parameters, though the loss looks the same."""
    for name, awake in (("layer_norm/batch_mean", True), ("layer_norm/layer_norm", False)):
        s = zoo.specimens[name]
        seated = replace(s, truth=replace(s.truth, seat=seats.hidden()))

        assert ("trajectory" in judge(seated, TRAINED).awake) is awake


def test_a_residual_connection_wakes_the_relu_that_writes_into_its_cotangent(zoo):
    """Alone in the middle nobody shares the cotangent; beside a skip branch somebody does."""
    s = zoo.specimens["relu/writes_into_cotangent"]
    for residual in (False, True):
        seat = seats.hidden(residual=residual)
        finding = judge(replace(s, truth=replace(s.truth, seat=seat)), TRAINED)

        assert bool(finding.awake) is residual


def test_the_training_subject_offers_a_run_and_no_operation(zoo):
    """What the detector is given is a run."""
    s = zoo.specimens["layer_norm/batch_mean"]
    seated = replace(s, truth=replace(s.truth, seat=seats.hidden()))
    given = subject(seated, TRAINED)

    assert given.offers == {"training", "source"}
    assert given.start(torch.Generator()).advance() > 0
