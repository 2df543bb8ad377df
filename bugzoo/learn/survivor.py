"""The one survivor of a check that is shown, and why the check let it pass.

The survivor with the most siblings, that is, with the most others that pass for the same reason.
"""

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bugzoo.learn import fix, program
from bugzoo.learn.jobs import job
from bugzoo.learn.judge import _error, _largest, examine
from bugzoo.learn.measure import measure, outputs
from bugzoo.learn.pool import Exhibit
from bugzoo.learn.trying import Counted, built
from bugzoo.source import standalone

if TYPE_CHECKING:
    from bugzoo.learn.detect import Subject

LAST = ("dtype-precision",)  # survivors that teach least: a limit, not an idea
CLEAR = 0.05  # relative: an error that nobody takes for rounding


def instructive(
    left: list[Exhibit], listed: list["Subject"], used: list[Counted] | None
) -> tuple[Exhibit, int]:
    """The survivor that stands for the most others, and how many more those are; precision comes last.

    Siblings are those that pass for one reason. Of these one that no cotangent of ones shows, if that
    was the reason; else the one that is wrong in most cases, and not by a little, on one line.
    """
    of = {s.wrong.code: s for s in listed if s.wrong is not None}
    plain = {s.wrong.code: u.plain for s, u in zip(listed, used or []) if s.wrong is not None}
    reasons = {e.code: _reason(e, of[e.code], plain.get(e.code, False)) for e in left}
    counts = Counter(reasons.values())
    reason = min(counts, key=lambda r: (r in LAST, -counts[r], r))

    def rank(e: Exhibit) -> tuple[Any, ...]:
        assert e.broken.label is not None
        off = max((n for n in _errors(of[e.code], e) if n < math.inf), default=0.0)
        seen = reason == "ones" and _under_ones(e, of[e.code])[2] > CLEAR * 1e-3
        shown = len(e.broken.label.shown_by)
        return (len(e.lines) > 1, seen, off < CLEAR, -shown, e.mutant, e.code)

    return min((e for e in left if reasons[e.code] == reason), key=rank), counts[reason] - 1


def _reason(e: Exhibit, subject: "Subject", plain: bool) -> str:
    """Why a check may let it pass. `plain`: all its cotangents were ones."""
    if e.family in LAST:
        return e.family
    if _channel(e) != "value":
        return _channel(e)
    if plain:
        return "ones"
    return "value" if len(subject.cases) == 1 else "other inputs"


def _channel(e: Exhibit) -> str:
    assert e.broken.label is not None
    return e.broken.label.channel


def story(e: Exhibit, like: int, used: Counted | None, subject: "Subject") -> list[str]:
    """The survivor's lines, and why the check let it pass, as far as its passes tell."""
    shown = e.shown.splitlines()
    more = f" ({like} more like it)" if like else ""
    lines = [f"One survivor{more}:"]
    lines += [f"  {n:3d}  {shown[n - 1].strip()}" for n in e.lines[:3]]
    channel = _channel(e)
    label = e.broken.label
    assert label is not None
    if channel == "side_effect":
        lines.append(
            "It writes into a tensor that it was only lent. Compare them before and after."
        )
    elif channel == "reentrancy":
        lines.append("Its first backward is right. Use it twice, or with another call in between.")
    elif channel == "contract":
        lines.append(protocol(e))
    elif used is not None and used.backwards == 0:
        lines.append("Your check made no backward pass.")
    elif used is not None and used.plain:
        lines += _ones(e, subject)
    elif len(subject.cases) > 1:
        shapes = ", ".join(sorted(used.shapes)[:4]) if used else "one size"
        lines.append(f"It shows in other inputs: {subject.cases[1].name}. Yours: {shapes}.")
    else:
        off = max((n for n in _errors(subject, e) if n < math.inf), default=0.0)
        if off:
            lines.append(
                f"Under some cotangents its gradient is off by {off:.0e} (relative): yours were not among "
                f"them, or your limit is wider."
            )
        else:
            lines.append(
                "Called once, alone, it is right: it keeps something from one call to the next."
            )
    return lines


def protocol(e: Exhibit) -> str:
    """What is wrong with a program beside the values of its gradient, as measured."""
    held = fix.bench(e, 0)
    kind = program.compiled(e.shown, f"<{e.code}>", e.name)
    for outcome in examine(held, fix.measured(held, kind)):
        if outcome.words and math.isinf(outcome.error):
            said = outcome.words[0].removesuffix(":") + "".join(outcome.words[1:2]) * outcome.raised
            return f"In `{outcome.name}`: {said}. Values alone do not show it."
    return "It breaks autograd's protocol: a zero cotangent, or one input alone requiring grad."


def _errors(subject: "Subject", e: Exhibit) -> list[float]:
    """How far the survivor's gradients are off in the case in which it was tried."""
    made = job(e.right, subject.cases[0], 0)
    mine, true = (measure(built(t).apply, made) for t in (subject.text, standalone(e.right.cls)))
    return [
        _error(torch.zeros_like(b) if a is None else a, b)
        for a, b in zip(mine.get("dx", []), true["dx"])
        if b is not None
    ]


def _under_ones(e: Exhibit, subject: "Subject") -> tuple[float, float, float]:
    """For a cotangent of ones: the largest element of the true gradient, of the twin's, and their gap."""
    case = subject.cases[0]
    found = []
    for text in (standalone(e.right.cls), subject.text):
        x = case.draw(torch.Generator().manual_seed(0))
        wrt = [t for t in x if isinstance(t, Tensor) and t.requires_grad]
        y = outputs(built(text).apply(*x, *case.extras))
        grads = torch.autograd.grad(y, wrt, [torch.ones_like(b) for b in y], allow_unused=True)
        found.append([torch.zeros_like(t) if d is None else d for t, d in zip(wrt, grads)])
    true, twin = (max(map(_largest, side), default=0.0) for side in found)
    gap = max(map(_error, found[1], found[0]), default=0.0) if max(true, twin) > 1e-9 else 0.0
    return true, twin, gap


def _ones(e: Exhibit, subject: "Subject") -> list[str]:
    """What the true gradient and the twin's are for a cotangent of ones."""
    true, twin, gap = _under_ones(e, subject)
    if max(true, twin) < 1e-9:
        return [
            f"Your g was all ones. For this operation the true dx is then 0 (at most {true:.0e}), and "
            f"so is the twin's: you compared 0 with 0."
        ]
    if true < 1e-9 and twin < 1e-4:
        return [
            f"Your g was all ones. For this operation the true dx is then 0, and the twin's at most "
            f"{twin:.0e}: there was next to nothing to compare. Use a random one."
        ]
    if gap < CLEAR * 1e-3:
        return ["Your g was all ones, and for that g its gradient is right. Use a random one."]
    return ["Your g was all ones, the gradient of a sum. Use a random one."]
