"""Is the gradient of one step still there at the next? Then zero_grad is missing or comes too late.

After a step every p.grad is old. It is fresh again once it was None or zero, or another tensor; a
step that meets an old one uses a sum over steps.
"""

from typing import Any

from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._training import STEPS, hooked, owned, parameters


@detector(
    needs="training",
    claims="trajectory",
    cost="24 steps; one pass over the gradients a step",
    blind_to="every gradient that is wrong when it is fresh; gradients kept elsewhere than in "
    ".grad; leaks",
    thresholds={
        "0 old gradients at a step": "exact",
        "steps = 24": "the length of the benchmark's runs",
    },
)
def stale_gradient(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    known = parameters(run)
    old: dict[int, Tensor] = {}  # parameter -> the gradient tensor that a step has used
    size: dict[int, float] = {}  # and its norm then
    stale: list[tuple[str, int, float, float]] = []
    step = 0

    def refresh(p: Tensor) -> None:
        if p.grad is None or p.grad is not old.get(id(p)) or not p.grad.detach().any():
            old.pop(id(p), None)

    def arrives(p: Tensor) -> Any:
        return lambda g: refresh(p)  # runs before g is added to p.grad

    def judge(optimizer: Any) -> None:
        for p in owned(optimizer):
            used = size.get(id(p), 0.0)
            refresh(p)
            if id(p) in old and p.grad is not None and id(p) in known:
                stale.append((known[id(p)][0], step, used, p.grad.detach().norm().item()))

    def before(optimizer: Any, args: Any, kwargs: Any) -> None:
        if not _closure(args, kwargs):
            judge(optimizer)

    def after(optimizer: Any, args: Any, kwargs: Any) -> None:
        if _closure(args, kwargs):  # the step made its gradients itself
            judge(optimizer)
        for p in owned(optimizer):
            if p.grad is not None and p.grad.detach().any():
                old[id(p)] = p.grad
                size[id(p)] = p.grad.detach().norm().item()

    handles = [p.register_hook(arrives(p)) for _, p in known.values()]
    handles += [o.register_step_pre_hook(before) for o in run.optimizers]
    handles += [o.register_step_post_hook(after) for o in run.optimizers]
    with hooked(handles):
        for step in range(1, STEPS + 1):  # noqa: B007  (read by the hooks)
            run.advance()
    if not stale:
        return Verdict("clear", 0.0, f"0 old gradients at {STEPS} steps")
    name, step, used, now = stale[0]
    because = f"{len(stale)} times a step used an old gradient, expected 0; "
    because += f"first: step {step}, where ||g|| was {used:.3g} and is {now:.3g}"
    return Verdict("alarm", float(len(stale)), because, name)


def _closure(args: Any, kwargs: Any) -> bool:
    """Was `optimizer.step` given a closure? L-BFGS needs one. `args` begins with the optimizer."""
    return any(map(callable, (*args[1:], *kwargs.values())))
