"""The production story runs: the loss of a broken attention falls first and goes wrong later."""

from statistics import mean

import torch
from torch import Generator

from bugzoo.model import TRAINED
from bugzoo.subject import subject


def test_the_loss_falls_first_and_rises_later(zoo):
    """With the row term dropped the loss turns; the right attention goes on falling from there."""
    losses, norms = {}, {}
    for name in ("attention", "dropped_row_term"):
        run = subject(zoo.specimens[f"attention/{name}"], TRAINED).start(Generator().manual_seed(0))
        losses[name] = [run.advance() for _ in range(1200)]
        norms[name] = [p.grad.norm().item() for p in run.models[0].parameters() if p.dim() > 1]
    wrong, right = losses["dropped_row_term"], losses["attention"]
    first, best, last = mean(wrong[:50]), mean(wrong[550:650]), mean(wrong[-100:])

    assert best < 0.5 * first, "it trains: nobody worries"
    assert last > 1.1 * best, "then it turns"
    assert mean(right[-100:]) < mean(right[550:650]), "the right one does not"
    assert max(norms["dropped_row_term"]) / min(norms["dropped_row_term"]) > 1e6
    assert max(norms["attention"]) / min(norms["attention"]) < 1e2


def test_a_factor_of_the_scale_is_invisible_in_the_loss(zoo):
    """Another defect of the same operation trains as well as the right one."""
    means = []
    for name in ("attention", "scale_dropped"):
        run = subject(zoo.specimens[f"attention/{name}"], TRAINED).start(Generator().manual_seed(0))
        means.append(mean([run.advance() for _ in range(600)][-100:]))

    assert means[1] < 1.2 * means[0]
    assert torch.isfinite(torch.tensor(means)).all()
