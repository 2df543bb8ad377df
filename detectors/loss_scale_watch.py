"""Is the gradient that is stepped with the gradient of the loss that is reported?

    k = (sum of the losses sent backward / reported loss)
        * (||p.grad at the step|| / ||gradients that arrived||)

k is 1 for a plain step, for micro-batches that were divided by their number, for a scaled loss that
was unscaled; below 1 where the norm was clipped. It is n for n micro-batches that were not divided.
"""

import math
from statistics import median
from typing import Any

from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, owned, parameters

FACTOR = 2**0.5


class _Losses(TorchFunctionMode):
    """Adds up the values of the tensors whose `.backward()` is called."""

    total = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.backward and args[0].numel() == 1:
            self.total += args[0].item()
        return func(*args, **(kwargs or {}))


@detector(
    needs="training",
    claims="trajectory",
    cost="24 steps; two norms for each parameter and step",
    blind_to="factors below 1.4 and those that make the gradient smaller, as clipping does; wrong "
    "directions; losses that go to torch.autograd.grad; leaks. A loop that reports another loss "
    "than it trains on alarms",
    thresholds={
        "k = sqrt 2": "half-way from no factor to the smallest of torch.amp.GradScaler, 2",
        "steps = 24": "the length of the benchmark's runs",
    },
)
def loss_scale_watch(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    known = parameters(run)
    arrived: dict[int, Tensor] = {}
    stepped: list[float] = []
    factors: list[tuple[float, float, float]] = []

    def arrives(key: int) -> Any:
        def look(g: Tensor) -> None:
            arrived[key] = arrived[key] + g.detach() if key in arrived else g.detach().clone()

        return look

    def before(optimizer: Any, *_: Any) -> None:
        mine = [p for p in owned(optimizer) if id(p) in arrived and p.grad is not None]
        came = _norm([arrived.pop(id(p)) for p in mine])
        if came > 0:
            stepped.append(_norm([p.grad.detach() for p in mine if p.grad is not None]) / came)

    handles = [p.register_hook(arrives(key)) for key, (_, p) in known.items()]
    handles += [o.register_step_pre_hook(before) for o in run.optimizers]
    with hooked(handles):
        for _ in range(STEPS):
            with _Losses() as losses:
                reported = run.advance()
            if reported and losses.total and stepped:
                sent, kept = losses.total / reported, median(stepped)
                factors.append((sent * kept, sent, kept))
            stepped.clear()
    if not factors:
        return Verdict(
            "abstain", because="no loss, or no gradient of one, was seen on its way to a step"
        )
    k, sent, kept = sorted(factors)[len(factors) // 2]
    because = f"k = {k:.4g}, expected 1: losses sent backward {sent:.4g} of the reported one, "
    because += f"gradient stepped with {kept:.4g} of what arrived"
    if not math.isfinite(k):
        return Verdict("abstain", because=because)
    return Verdict("alarm" if k > FACTOR else "clear", k, because)


def _norm(those: list[Tensor]) -> float:
    return math.sqrt(sum(t.double().square().sum().item() for t in those))
