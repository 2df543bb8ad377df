"""What an instrument shows, and when two readings contradict each other."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bugzoo.learn.jobs import Bench


@dataclass(frozen=True)
class Reading:
    """What an instrument shows: lines for the reader, and the numbers by name to compare with others."""

    lines: tuple[str, ...]
    values: dict[str, float]

    def differs(self, other: "Reading") -> str:
        """The name of the number that contradicts `other` most plainly, or ''."""
        worst, at = 0.0, ""
        for name, value in self.values.items():
            if name not in other.values:
                return name
            a, b = value, other.values[name]
            if a == b or (math.isnan(a) and math.isnan(b)):
                continue
            gap = abs(a - b) / max(abs(a), abs(b)) if math.isfinite(a + b) else 2.0
            if gap > worst and max(abs(a), abs(b)) > 1e-9:
                worst, at = gap, name
        return at if worst > 0.02 else ""

    def looks(self, other: "Reading") -> bool:
        """Does it look different: a number that is 0, 1 or infinite here and not there?"""
        return any(_class(v) != _class(other.values.get(n)) for n, v in self.values.items())

    def says(self, name: str) -> str:
        """The number of that name in words, as it stands on the screen; None or NaN is nothing."""
        return said(name, self.values.get(name, math.nan))


def said(name: str, value: float) -> str:
    """A value of a reading in the words of the screen, where a number only stands for them."""
    if name.startswith("first wrong step"):
        return f"step {value:.0f}" if value else "never"
    if name.startswith("gradient of") and value == -1.0:
        return "none"
    if name == "a second use":
        return "another" if value else "the same"
    if name.endswith("zero cotangent"):
        return "finite" if value else "NaN or infinity"
    if math.isnan(value):
        return "nothing"
    return "a failure" if math.isinf(value) else f"{value:.3g}"


def _class(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "none"
    return next((f"{k}" for k in (0, 1, -1) if abs(value - k) < 1e-6), "some")


@dataclass(frozen=True)
class Instrument:
    name: str
    price: int
    what: str
    read: Callable[[Bench, Any], Reading]


def hash_of(said: str) -> int:
    """A number for a text, the same in every process."""
    return int(hashlib.sha256(said.encode()).hexdigest()[:8], 16)


def cosine(a: Tensor, b: Tensor) -> float:
    size = a.norm().item() * b.norm().item()
    return (a * b).sum().item() / size if size else math.nan
