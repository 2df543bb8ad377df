"""SLOPE: is what each backward gives the derivative of the loss that it started from?

    D(h) = (L(p + h u) - L(p - h u)) / 2h      against  sum_p g_p . u_p       u: random, all parameters

The program itself computes L, played again from its tape. Two steps h tell the error: truncation,
rounding and kinks are part of the threshold. Only on an alarm is a second direction tried, and the
parameter looked up by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bugzoo.auditor.directions import normal
from bugzoo.auditor.player import Player
from bugzoo.auditor.program import Program
from bugzoo.auditor.session import Session
from bugzoo.auditor.tape import Astray, Loss, Tape
from bugzoo.errors import first_line
from bugzoo.finding import Finding, Note

STEP = {torch.float64: 1e-4, torch.float32: 1e-2}


@dataclass(frozen=True)
class Point:
    """A difference quotient of one loss, and how far it may be off."""

    value: float
    error: float


class Slopes:
    """The recorded iteration of a program, and differences of its losses along directions."""

    def __init__(self, program: Program, start: int, length: int, stops: set[str]):
        self.program, self.start, self.length, self.stops = program, start, length, stops
        self.wide = True
        self.jitter = 1e-3
        self.tape = Tape()
        self.frozen: dict[int, set[int]] = {}
        self.valid: list[bool] = []
        self.why = ""

    def record(self) -> bool:
        """Record the iteration, and play it once without a shift. False, with `why`, where that fails."""
        self.why = ""
        for self.wide, self.jitter in ((True, 1e-3), (False, 1e-3), (False, 0.0)):
            try:
                player = self.run("")
                if player.late_contracts:  # found after the point was chosen
                    self.frozen = player.late_contracts | player.tape.frozen
                    player = self.run("")
                self.tape = player.tape
                again = self.play()
            except Astray as error:
                self.why = self.why or str(error)
                continue
            except Exception as error:
                self.why = self.why or f"{type(error).__name__}: {first_line(error)[:100]}"
                continue
            counted = self.counted
            if len(again.values) != len(counted):
                self.why = self.why or "it takes another way when it is run again"
                continue
            if not counted:
                self.why = "no backward pass over known parameters was seen in its second iteration"
                continue
            self.valid = [
                math.isfinite(x.value) and abs(x.value - v) <= 1e-9 * abs(x.value) + 1e-300
                for x, v in zip(counted, again.values, strict=True)
            ]
            if any(self.valid):
                return True
            self.why = (
                "two runs from the same seed differ"
                if all(math.isfinite(x.value) for x in counted)
                else "the loss is not finite"
            )
        return False

    @property
    def counted(self) -> list[Loss]:
        return [x for x in self.tape.losses if x.counted]

    def run(self, bend: str) -> Player:
        """The program, recorded anew."""
        player = Player(
            Tape(),
            self.start,
            self.length,
            self.stops,
            bend=bend,
            jitter=self.jitter,
            frozen=self.frozen,
        )
        self._go(player)
        return player

    def play(
        self, shift: list[Tensor | None] | None = None, by: float = 0.0, free: bool = False
    ) -> Player:
        player = Player(
            self.tape, self.start, self.length, self.stops, play=True, shift=shift or [], by=by,
            free=free, jitter=self.jitter,
        )  # fmt: skip
        self._go(player)
        return player

    def _go(self, player: Player) -> None:
        session = Session(interceptor=player)
        self.program.play(session, lambda s: len(s.steps) >= self.start + self.length, self.wide)

    # -- differences

    def direction(self, seed: int, only: set[int] | None = None) -> list[Tensor | None]:
        gen = torch.Generator().manual_seed(1_000_003 + seed)
        made: list[Tensor | None] = []
        tape = self.tape
        for n, (shape, dtype) in enumerate(zip(tape.shapes, tape.dtypes, strict=True)):
            u = normal(shape, dtype, gen).mul_(tape.sizes[n])
            frozen = self.tape.frozen.get(n, set())
            for row in frozen - {-1}:
                u[row] = 0.0
            out = -1 in frozen or (only is not None and n not in only)
            made.append(None if out else u)
        return made

    def quotients(
        self, u: list[Tensor | None], scale: float = 1.0, quick: bool = False
    ) -> list[Point]:
        """For each counted loss its derivative along `u`; with `quick` from one step alone."""
        counted = self.counted
        dtypes = {t for t, d in zip(self.tape.dtypes, u, strict=True) if d is not None}
        dtypes |= {x.dtype for x in counted}
        narrow = max((torch.finfo(t).eps for t in dtypes), default=2e-16)
        h = scale * (STEP[torch.float64] if narrow < 1e-12 else STEP[torch.float32])
        values = {}
        for t in (h, -h) if quick else (h, -h, h / 2, -h / 2):
            values[t] = self.play(u, t).values
        points = []
        for k, x in enumerate(counted):
            up, down, zero = values[h][k], values[-h][k], x.value
            wide = (up - down) / (2 * h)
            rounding = 8 * narrow * max(abs(up), abs(down), abs(zero)) / h
            if quick:
                points.append(Point(wide, rounding))
                continue
            up2, down2 = values[h / 2][k], values[-h / 2][k]
            close = (up2 - down2) / h
            bend = abs((up + down - 2 * zero) - 4 * (up2 + down2 - 2 * zero)) / h
            error = abs(close - wide) + 0.3 * bend + rounding
            points.append(Point((4 * close - wide) / 3, error))
        return points

    def given(
        self, x: Loss, u: list[Tensor | None], only: set[int] | None = None
    ) -> tuple[float, float]:
        """g . u, and the size that a sum of such terms has."""
        total = square = 0.0
        for n, g in x.got.items():
            d = u[n]
            if d is None or (only is not None and n not in only):
                continue
            term = g.double() * d.double()
            total += float(term.sum())
            square += float(term.square().sum())
        return total, square**0.5

    def wrong(
        self, u: list[Tensor | None], points: list[Point], about: frozenset[int] | None
    ) -> list[int]:
        """Numbers of the losses whose gradient is off by more than the error of the difference."""
        found = []
        for k, (x, s) in enumerate(zip(self.counted, points, strict=True)):
            if not self.valid[k] or x.about != about or not math.isfinite(s.value + s.error):
                continue
            mine, size = self.given(x, u)
            eps = max(
                torch.finfo(x.dtype).eps, *(torch.finfo(g.dtype).eps for g in x.got.values()), 0.0
            )
            rel = 1e-6 if eps < 1e-12 else 3e-3 if eps < 1e-6 else 5e-2
            if (
                abs(mine - s.value)
                > 30 * s.error + rel * max(size, abs(s.value), abs(mine)) + 1e-300
            ):
                found.append(k)
        return found


def examine(slopes: Slopes) -> Iterator[Finding | Note]:
    """Findings for losses whose gradient is not their slope."""
    groups = list(
        dict.fromkeys(x.about for x, ok in zip(slopes.counted, slopes.valid, strict=True) if ok)
    )
    for about in groups[:2]:
        only = set(about) if about is not None else None
        try:
            u = slopes.direction(0, only)
            suspects = slopes.wrong(u, slopes.quotients(u), about)
            if not suspects:
                continue
            again = slopes.direction(1, only)
            sure = set(suspects) & set(
                slopes.wrong(again, slopes.quotients(again, 0.1 if slopes.wide else 0.5), about)
            )
            if sure:
                yield _finding(slopes, min(sure), only)
                return
        except Astray as error:
            yield Note("skipped", f"the slope of the loss: {error}")


def _finding(slopes: Slopes, k: int, only: set[int] | None) -> Finding:
    """Bisect to the parameter."""
    x = slopes.counted[k]
    u = slopes.direction(2, only)
    left = [n for n, d in enumerate(u) if d is not None]

    def gap(part: list[int]) -> tuple[float, float, float]:
        chosen = set(part)
        moved = [d if n in chosen else None for n, d in enumerate(u)]
        s = slopes.quotients(moved, 0.1 if slopes.wide else 1.0, quick=True)[k]
        mine, _ = slopes.given(x, u, chosen)
        return abs(mine - s.value), mine, s.value

    total, mine, true = gap(left)
    for _ in range(6):
        if len(left) == 1:
            break
        half = left[: len(left) // 2]
        found, a, b = gap(half)
        if found >= 0.3 * total:
            left, total, mine, true = half, found, a, b
        else:
            left = left[len(left) // 2 :]
            total, mine, true = gap(left) if len(left) == 1 else (total, mine, true)
    where = slopes.tape.names[left[0]]
    if len(left) > 1:
        where += f" or one of the {len(left) - 1} after it"
    if abs(mine) < 1e-9 * abs(true):
        cause = "it moves the loss and gets no gradient: it starves"
    elif abs(true) < 1e-9 * abs(mine):
        cause = "it gets a gradient and does not move the loss"
    else:
        cause = "an operation on the way hands back a wrong gradient"
    size = max(abs(mine), abs(true), 1e-300)
    return Finding(
        "value", "the gradient is not the derivative of the loss that was sent backward",
        f"{where}, along a random direction", mine, true, abs(mine - true) / size,
        step=slopes.start + 1, line=x.line, cause=cause,
    )  # fmt: skip
