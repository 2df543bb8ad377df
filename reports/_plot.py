"""Geometry of the page's pictures in SVG units: recall against cost, and intervals as whiskers.

Only numbers and places are made here; the template draws them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 26, 42
LETTER, LINE = 6.7, 13  # width and height of a letter of a point's name

SIDES = [
    *((9, 4, "start"), (-9, 4, "end"), (0, -9, "middle"), (0, 18, "middle")),
    *((4, -9, "start"), (4, 18, "start"), (-4, -9, "end"), (-4, 18, "end")),
]


@dataclass
class Point:
    name: str
    cost: float
    recall: float
    false_alarms: float
    informed: bool
    x: float
    y: float
    front: bool = False
    label: tuple[float, float, str] | None = None  # x, y, text-anchor; None where there is no room


@dataclass
class Plot:
    """One panel. `front`: the staircase of detectors that no other beats at their cost."""

    title: str
    ticks: list[tuple[float, str]]
    points: list[Point] = field(default_factory=list)
    front: list[tuple[float, float]] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT


def against(board: pd.DataFrame, cost: pd.Series, title: str, zero: bool = False) -> Plot:
    """Recall of the scoreboard against `cost`, logarithmic; with `zero`, of 1 + cost.

    A detector is on the front when no other has at least its recall at no more than its cost, one
    of the two being better. Those that tell bugs from correct code no better than chance (J of 0 or
    less) stand outside the comparison.
    """
    scale: Callable[[float], float] = math.log1p if zero else math.log
    some = board.assign(cost=cost)[board["recall"].notna() & cost.notna() & (cost.gt(0) | zero)]
    if some.empty:
        return Plot(title, [])
    values = _counts(some["cost"].max()) if zero else _decades(some["cost"])
    low, high = scale(values[0]), scale(values[-1])

    def across(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (scale(value) - low) / (high - low), 1)

    plot = Plot(title, [(across(v), f"{v:g}") for v in values])
    for row in some.to_dict("records"):
        place = (across(row["cost"]), up(row["recall"]))
        about = (
            row["detector"],
            row["cost"],
            row["recall"],
            row["false alarms"],
            not row["J"] <= 0,
        )
        plot.points.append(Point(*about, *place))
    _mark_front(plot)
    _place_labels(plot.points)
    return plot


def up(recall: float) -> float:
    """The y of a recall: 1 at the top."""
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - recall), 1)


def _mark_front(plot: Plot) -> None:
    some = [p for p in plot.points if p.informed]
    best = 0.0
    for point in sorted(some, key=lambda p: (p.cost, -p.recall, p.name)):
        if point.recall > best:
            plot.front += [(point.x, up(best)), (point.x, point.y)]
            best = point.recall
    if plot.front:
        plot.front.append((WIDTH - RIGHT, plot.front[-1][1]))
    for point in some:
        point.front = point.recall > 0 and not any(
            q.cost <= point.cost
            and q.recall >= point.recall
            and (q.cost, q.recall) != (point.cost, point.recall)
            for q in some
        )


def _place_labels(points: list[Point]) -> None:
    """Right of the point, left, above or below; the front first; none where it would cover."""
    dots = {id(p): (p.x - 5, p.y - 5, p.x + 5, p.y + 5) for p in points}
    taken: list[tuple[float, ...]] = []
    for point in sorted(points, key=lambda p: (not p.front, p.x, p.name)):
        others = [*taken, *(box for key, box in dots.items() if key != id(point))]
        long = LETTER * len(point.name)
        for dx, dy, anchor in SIDES:
            x, y = point.x + dx, point.y + dy
            left = x - long * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            box = (left, y - LINE + 3, left + long, y + 3)
            inside = box[0] > LEFT and box[2] < WIDTH and box[1] > 0 and box[3] < HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in others):
                point.label = (round(x, 1), round(y, 1), anchor)
                taken.append(box)
                break


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _decades(costs: pd.Series) -> list[float]:
    first, last = math.floor(math.log10(costs.min())), math.ceil(math.log10(costs.max()))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def _counts(most: float) -> list[float]:
    ladder = [0.0, *(10.0**n * m for n in range(7) for m in (1, 3))]
    last = next((n for n, v in enumerate(ladder) if v >= most), len(ladder) - 1)
    return ladder[: max(last, 1) + 1]
