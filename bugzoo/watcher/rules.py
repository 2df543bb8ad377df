"""Is the update what the optimizer's rule gives for the gradient that it got?

    sgd     v <- m v + (1 - d) g,   p <- p - lr (g + m v  or  v)
    adam    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
            p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)          adamw: p <- p (1 - lr w) first

Recomputed in float64 on the sampled elements of each parameter, with the optimizer's own state from
before the step.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from bugzoo.watcher import samples

KNOWN = (SGD, Adam, AdamW)
everyone: Any = sys.modules["torch.optim.optimizer"]  # torch.optim hides it


def hooked(optimizer: Optimizer) -> bool:
    """Do hooks of the user's take part in the step? Then the rule alone does not say where it goes."""
    everywhere = (
        *everyone._global_optimizer_pre_hooks.values(),
        *everyone._global_optimizer_post_hooks.values(),
    )
    return bool(
        optimizer._optimizer_step_pre_hooks  # type: ignore[has-type]
        or optimizer._optimizer_step_post_hooks  # type: ignore[has-type]
        or any(not str(getattr(h, "__module__", "")).startswith("bugzoo.") for h in everywhere)
    )


def now(optimizer: Optimizer) -> dict[int, tuple[Tensor, Tensor]]:
    """id of a parameter -> samples of it and of its gradient."""
    return {
        id(p): (samples.pick(p).double().clone(), samples.pick(p.grad).double().clone())
        for group in optimizer.param_groups
        if not group.get("maximize")
        for p in group["params"]
        if p.grad is not None
        and p.grad.layout is torch.strided
        and p.stride() == p.grad.stride()
        and p.is_floating_point()
        and p.numel() > 4
    }


def foreseen(optimizer: Optimizer) -> dict[int, tuple[Tensor, Tensor, float]]:
    """id of a parameter -> (sample before the step, sample foreseen after it, its eps)."""
    found: dict[int, tuple[Tensor, Tensor, float]] = {}
    if not isinstance(optimizer, KNOWN) or hooked(optimizer):
        return found
    if getattr(optimizer, "grad_scale", None) is not None:
        return found  # it unscales inside
    for group in optimizer.param_groups:
        if group.get("amsgrad") or group.get("capturable"):
            continue
        for p in group["params"]:
            g = p.grad
            if (
                g is None
                or g.layout is not torch.strided
                or g.dtype not in (torch.float32, torch.float64)
            ):
                continue
            if p.dtype != g.dtype or p.stride() != g.stride() or p.numel() == 0:
                continue
            now, grad = samples.pick(p).double().clone(), samples.pick(g).double()
            after = _rule(optimizer, group, optimizer.state.get(p, {}), now, grad, p)
            if after is not None:
                found[id(p)] = (now, after, torch.finfo(p.dtype).eps)
    return found


def _rule(
    optimizer: Optimizer, group: dict[str, Any], state: Any, p: Tensor, g: Tensor, whole: Tensor
) -> Tensor | None:
    lr, decay = float(group["lr"]), group["weight_decay"]
    if group.get("maximize"):
        g = -g
    if isinstance(optimizer, SGD):
        g = g + decay * p
        m = group["momentum"]
        if m:
            old = state.get("momentum_buffer")
            if old is not None and old.stride() != whole.stride():
                return None
            v = g if old is None else m * samples.pick(old).double() + (1 - group["dampening"]) * g
            g = g + m * v if group["nesterov"] else v
        return p - lr * g
    if group.get("decoupled_weight_decay", isinstance(optimizer, AdamW)):
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    b1, b2 = map(float, group["betas"])
    first, second = state.get("exp_avg"), state.get("exp_avg_sq")
    if first is not None and (
        first.stride() != whole.stride() or second.stride() != whole.stride()
    ):
        return None
    m = (1 - b1) * g + (b1 * samples.pick(first).double() if first is not None else 0)
    v = (1 - b2) * g * g + (b2 * samples.pick(second).double() if first is not None else 0)
    t = float(state["step"]) + 1 if "step" in state else 1.0
    return p - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + group["eps"])


def climbs(p: Tensor, g: Tensor, now: Tensor, eps: float) -> bool:
    """Did p move along its own gradient and nothing else: uphill?"""
    made, g = now.double() - p, g.double()
    square = float((g * g).sum())
    factor = float((made * g).sum()) / square if square else 0.0
    room = 1e-3 * float(made.abs().max()) + 4 * eps * float(p.abs().max())
    return factor > 0 and float((made - factor * g).abs().max()) <= room < 0.25 * float(
        made.abs().max()
    )


def mismatch(before: Tensor, after: Tensor, now: Tensor, eps: float) -> tuple[float, float] | None:
    """(update made, update foreseen) of the worst sampled element, or None where they agree."""
    made, wanted = now.double() - before, after - before
    room = 1e-3 * torch.maximum(made.abs(), wanted.abs()) + 16 * eps * before.abs() + 1e-30
    room += (
        1e-4 * wanted.abs().max() if wanted.numel() else 0.0
    )  # what cancels in a moment is rounding
    excess = (made - wanted).abs() / room
    worst = int(excess.argmax()) if excess.numel() else 0
    if not excess.numel() or not bool(excess[worst] > 1):
        return None
    return float(made[worst]), float(wanted[worst])
