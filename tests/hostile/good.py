"""Detectors that behave, and whose answers tell whether anybody before them did not."""

import os
import random
import threading
import time

import numpy as np
import torch

from bugzoo import Verdict, detector
from bugzoo.subject import leaves, tensors


@detector(cost="1 forward, 1 backward", blind_to="everything")
def surveyor(subject, gen):
    """Says what it finds around it: numbers of the global states, dtype, threads, folder."""
    drawn = torch.rand(()).item(), np.random.rand(), random.random()
    around = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    rest = os.getcwd(), threading.active_count(), np.geterr()["divide"], "TAINTED" in os.environ
    x = subject.inputs(gen)
    (y,) = tensors(subject.op(*x))
    (d,) = torch.autograd.grad(y.sum(), leaves(x)[:1])
    return Verdict("clear", d.sum().item() + drawn[0], f"{drawn} {around} {rest}")


@detector(cost="3 forwards, 1 backward", blind_to="whatever one direction does not show")
def one_direction(subject, gen):
    """<J u, g> by central differences against <u, dx>."""
    x = subject.inputs(gen)
    (first,) = leaves(x)[:1]
    u = torch.randn(first.shape, generator=gen, dtype=first.dtype)
    y = subject.op(*x)
    g = torch.randn(y.shape, generator=gen, dtype=y.dtype)
    (d,) = torch.autograd.grad(y, first, g.clone())
    with torch.no_grad():
        up, down = (subject.op(first + h * u, *x[1:]) for h in (1e-6, -1e-6))
    left, right = ((up - down) / 2e-6 * g).sum().item(), (u * d).sum().item()
    error = abs(left - right) / max(abs(left), abs(right), 1e-12)
    return Verdict("alarm" if error > 1e-5 else "clear", error, f"{left:.9g} and {right:.9g}")


@detector(needs="source", cost="none", blind_to="everything")
def dawdles(subject, gen):
    """Takes its time asleep."""
    time.sleep(0.05)
    return Verdict("abstain")


@detector(needs="source", cost="none", blind_to="everything")
def burns(subject, gen):
    """Takes its time awake."""
    start = time.process_time()
    while time.process_time() - start < 0.2:
        pass
    return Verdict("clear", 0.0)
