"""The bench of find for training loops: the loss, the path of the parameters, gradients, memory."""

import math
from typing import Any

import torch
from torch import Tensor

from bugzoo.learn import judge
from bugzoo.learn.jobs import Bench
from bugzoo.learn.measure import _state
from bugzoo.learn.reading import Instrument, Reading, cosine
from bugzoo.oracle import memory


def _loop_loss(bench: Bench, kind: Any) -> Reading:
    """The loss as the loop reports it."""
    case = bench.cases[0]
    mine, true = bench.measured(kind, case), bench.truth(case)[1]
    if mine["error"]:
        return _raised(mine)
    marks = [m for m in (1, 2, 4, 8, 16, 24) if m <= case.steps]
    lines = [
        f"setting {case.name}",
        "  step       " + "".join(f"{m:>9d}" for m in marks),
        "  this one   " + "".join(f"{mine['losses'][m - 1]:9.4g}" for m in marks),
        "  the right  " + "".join(f"{true['losses'][m - 1]:9.4g}" for m in marks),
    ]
    return Reading(tuple(lines), {f"loss at step {m}": mine["losses"][m - 1] for m in marks})


def _raised(mine: Any) -> Reading:
    step = len(mine["states"]) + 1
    return Reading((f"step {step} raises", f"  {mine['error']}"), {"raises in step": float(step)})


def _settings(bench: Bench, kind: Any) -> Reading:
    """The first step that leaves the textbook's path, in each setting."""
    given = [case.options for case in bench]
    telling = {k for o in given for k in o if any(p.get(k) != o[k] for p in given)}
    lines, values = [], dict[str, float]()
    for case in bench:
        mine, true = bench.measured(kind, case), bench.truth(case)[1]
        step = leaves_at(mine, true, case.rtol)
        shown = f"step {step}" if step else f"never, in {case.steps} step{'s' * (case.steps != 1)}"
        options = ", ".join(f"{k}={v}" for k, v in case.options.items() if k in telling)
        lines.append(f"{case.name:<16} {shown:<22} {options[:34]}")
        values[f"first wrong step in {case.name}"] = float(step)
    return Reading(tuple(lines), values)


def leaves_at(mine: Any, true: Any, rtol: float) -> int:
    for step, (ours, theirs) in enumerate(zip(mine["states"], true["states"]), 1):
        scale = max(judge._largest(t) for t in theirs.values()) or 1.0
        if any(judge._gap(ours[k], t) / scale > rtol for k, t in theirs.items() if k in ours):
            return step
    return len(mine["states"]) + 1 if mine["error"] else 0


def _drift(bench: Bench, kind: Any) -> Reading:
    """How far all parameters are from the textbook's, relative to the way that those have gone."""
    case = bench.cases[0]
    mine, true = bench.measured(kind, case), bench.truth(case)[1]
    lines, values = (
        [f"setting {case.name}; distance from the textbook / largest parameter"],
        dict[str, float](),
    )
    for step in (1, 2, 4, 8, 16, 24):
        if step > min(len(mine["states"]), len(true["states"])):
            break
        ours, theirs = mine["states"][step - 1], true["states"][step - 1]
        scale = max(judge._largest(t) for t in theirs.values()) or 1.0
        gap = max(judge._gap(ours[k], t) for k, t in theirs.items() if k in ours) / scale
        gap = gap if gap > 1e-9 else 0.0
        lines.append(f"  step {step:<3d} {gap:.2e}")
        values[f"distance at step {step}"] = gap
    return Reading(tuple(lines), values) if len(lines) > 1 else _raised(mine)


def _moved(bench: Bench, kind: Any) -> Reading:
    """What each parameter does in the first two steps, beside the textbook."""
    case = bench.cases[0]
    mine, true = bench.measured(kind, case), bench.truth(case)[1]
    start = _start(bench, case)
    lines, values = ["parameter             step  length / textbook   cosine"], dict[str, float]()
    for step in (1, 2):
        if step > min(len(mine["states"]), len(true["states"])):
            break
        for name in true["states"][step - 1]:
            moves = []
            for run in (mine, true):
                before = start[name] if step == 1 else run["states"][step - 2][name]
                moves.append(run["states"][step - 1][name] - before)
            size = moves[1].norm().item()
            ratio = moves[0].norm().item() / size if size > 1e-12 else moves[0].norm().item()
            along = cosine(*moves)
            along = along if math.isfinite(along) else 0.0
            lines.append(f"{name[:20]:<21} {step:4d}  {ratio:17.4f}  {along:7.3f}")
            values[f"move of {name} in step {step}"] = ratio
            values[f"direction of {name} in step {step}"] = along
    return Reading(tuple(lines), values) if len(lines) > 1 else _raised(mine)


def _start(bench: Bench, case: Any) -> dict[str, Tensor]:
    kind: Any = bench.right.cls
    seed, _ = bench.truth(case)
    loop = kind(torch.Generator().manual_seed(seed), **case.options)
    return {k: v for k, v in _state(loop.models).items() if v is not None}


def _grads(bench: Bench, kind: Any) -> Reading:
    """The gradient that each parameter is left with after steps 1 and 3."""
    case = bench.cases[0]
    mine, true = bench.measured(kind, case), bench.truth(case)[1]
    lines, values = ["|p.grad| when the step is over    this one    the right"], dict[str, float]()
    for step in (1, 3):
        if step > min(len(mine["grads"]), len(true["grads"])):
            break
        for name, theirs in true["grads"][step - 1].items():
            ours = mine["grads"][step - 1].get(name)
            a, b = ("none" if t is None else f"{t.norm().item():.4g}" for t in (ours, theirs))
            lines.append(f"  step {step}  {name[:20]:<20} {a:>12} {b:>12}")
            values[f"gradient of {name} after step {step}"] = (
                -1.0 if ours is None else ours.norm().item()
            )
    return Reading(tuple(lines), values) if len(lines) > 1 else _raised(mine)


def _memory(bench: Bench, kind: Any) -> Reading:
    """Bytes that stay alive after each step."""
    case = bench.cases[0]
    loop = kind(torch.Generator().manual_seed(bench.seed), **case.options)
    seen = memory.examine_loop(loop, max(case.steps, 24))
    return Reading((seen.words,), {"bytes left by each step": seen.error if seen.awake else 0.0})


LOOPS = [
    Instrument("loss", 0, "the loss, step by step", _loop_loss),
    Instrument("drift", 2, "distance from the textbook's parameters", _drift),
    Instrument("memory", 5, "bytes that stay alive after each step", _memory),
    Instrument("settings", 10, "first wrong step in each setting", _settings),
    Instrument("grads", 10, "gradients that are left when a step is over", _grads),
    Instrument("moved", 15, "each parameter's first two steps", _moved),
]
