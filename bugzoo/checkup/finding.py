"""What a checkup found, in words and numbers: Finding, Note, Checkup."""

from __future__ import annotations

import html
import textwrap
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ORDER = ("value", "contract", "side_effect", "reentrancy", "second_order", "memory")


@dataclass(frozen=True)
class Finding:
    """One defect. `yours` and `true` are the two numbers; `where` names the input and the element.

    `channel`    value, second_order, side_effect, reentrancy, memory or contract
    `variation`  which inputs, cotangent or use showed it; 'as given' for the inputs themselves
    `cause`      the likely cause in words, '' when the numbers do not tell
    `inputs`     the smallest inputs tried that show it, as text
    `seed`       check(..., seed=seed) shows it again
    """

    channel: str
    what: str
    where: str = ""
    yours: float | None = None
    true: float | None = None
    error: float = float("inf")
    variation: str = "as given"
    cause: str = ""
    inputs: str = ""
    seed: int = 0

    @property
    def severity(self) -> str:
        """'wrong' for a defect that changes a gradient, 'risk' for one that needs company to do so."""
        return "wrong" if self.channel in ("value", "contract", "second_order") else "risk"

    @property
    def loud(self) -> bool:
        """The pass raises by itself: nobody overlooks it."""
        return self.channel == "contract" and "raises" in self.what

    def __str__(self) -> str:
        lines = [f"{self.channel}: {self.what}"]
        if self.where:
            lines.append(f"where: {self.where}")
        if self.yours is not None and self.true is not None:
            ratio = f", ratio {self.yours / self.true:.4g}" if self.true else ""
            lines.append(f"yours {self.yours:.7g}, true {self.true:.7g}{ratio}")
        if self.cause:
            lines.append(f"cause: {self.cause}")
        lines.append(f"shown by: {self.variation}")
        if self.inputs:
            lines.append(f"inputs: {self.inputs}")
        return "\n".join(
            textwrap.fill(line, 76, initial_indent="  " * (n > 0), subsequent_indent="    ")
            for n, line in enumerate(lines)
        )


@dataclass(frozen=True)
class Note:
    """Something to know that is no defect: a convention, randomness, a check that was not done."""

    kind: str  # convention, random, skipped, precision, declared
    what: str

    def __str__(self) -> str:
        return textwrap.fill(f"{self.kind}: {self.what}", 80, subsequent_indent="    ")


@dataclass(frozen=True)
class Cost:
    """Passes of the function that the checkup spent, wall time, and bytes of the given inputs."""

    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0
    bytes: int = 0

    def __str__(self) -> str:
        return f"{self.forwards} forwards, {self.backwards} backwards, {self.seconds:.2f} s"


@dataclass
class Checkup:
    """The result of `check`: `.ok` is True when no finding is left."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    done: list[str] = field(default_factory=list)  # variations that were run, in order
    seed: int = 0

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        head = (
            f"ok: no defect on {len(self.done)} variations"
            if self.ok
            else f"{len(self.findings)} finding{'s' * (len(self.findings) > 1)}"
        )
        parts = [f"{head} ({self.cost})"]
        parts += [f"{n}. {finding}" for n, finding in enumerate(self.findings, 1)]
        parts += [str(note) for note in self.notes]
        return "\n".join(parts)

    def to_frame(self) -> pd.DataFrame:
        """Findings as a DataFrame, one row each; empty with the same columns when all is well."""
        import pandas as pd

        names = [
            "channel",
            "severity",
            *(f for f in Finding.__dataclass_fields__ if f != "channel"),
        ]
        rows = [asdict(f) | {"severity": f.severity} for f in self.findings]
        return pd.DataFrame(rows, columns=names)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "ok": self.ok,
            "findings": [asdict(f) | {"severity": f.severity} for f in self.findings],
            "notes": [asdict(n) for n in self.notes],
            "cost": asdict(self.cost),
            "done": self.done,
            "seed": self.seed,
        }

    def _repr_html_(self) -> str:
        colour = "#1a7f37" if self.ok else "#cf222e"
        return f'<pre style="border-left:4px solid {colour};padding-left:1em">{html.escape(str(self))}</pre>'
