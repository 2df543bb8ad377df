"""What an examination found, in words and numbers: Finding, Note, Cost, and the Result that holds them.

`check` returns a Checkup, `watch` a Log, `audit` an Audit: each is a Result.
"""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas as pd

ORDER = (
    "value", "contract", "trajectory", "side_effect", "reentrancy", "second_order", "memory",
)  # fmt: skip
WRONG = ("value", "contract", "trajectory", "second_order")


@dataclass(frozen=True)
class Finding:
    """One defect. `yours` and `true` are the two numbers; `where` names the input and the element,
    or the parameter.

    `channel`    one of bugzoo.model.CHANNELS
    `variation`  which inputs, cotangent or use showed it; 'as given' for the inputs themselves
    `cause`      the likely cause in words, '' when the numbers do not tell
    `inputs`     the smallest inputs tried that show it, as text
    `seed`       the same call with this seed shows it again
    `step`       of a training run, the step that showed it first, counted from 1
    `line`       'train.py:41', the line of the user's code, where that is known
    `times`      steps that showed it, where a run was watched
    `also`       what else the same cause explains, '' for nothing
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
    step: int | None = None
    line: str = ""
    times: int = 1
    also: str = ""

    @property
    def severity(self) -> str:
        """'wrong' for a defect that changes a gradient, 'risk' for one that needs company to do so."""
        return "wrong" if self.channel in WRONG else "risk"

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
        if self.step is not None or self.line:
            at = f"step {self.step}" if self.step is not None else ""
            at += f" and {self.times - 1} more" if self.times > 1 else ""
            lines.append(f"at: {', '.join(filter(None, (at, self.line)))}")
        else:
            lines.append(f"shown by: {self.variation}")
        if self.also:
            lines.append(f"also: {self.also}")
        if self.inputs:
            lines.append(f"smallest inputs: {self.inputs}")
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
class Result:
    """What was found and noted, at what cost: `.ok` is True when no finding is left."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    seed: int = 0

    columns: ClassVar[tuple[str, ...]] = (
        "channel", "severity", *(f for f in Finding.__dataclass_fields__ if f != "channel"),
    )  # fmt: skip

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def headline(self) -> str:
        """The first line of the text, without the cost."""
        count = len(self.findings)
        return f"{count} finding{'s' * (count > 1)}" if count else f"{self.verdict}: {self.healthy}"

    @property
    def verdict(self) -> str:
        """In a word, where there is no finding."""
        return "ok"

    @property
    def healthy(self) -> str:
        """What was looked at in vain."""
        return "no defect"

    def __str__(self) -> str:
        parts = [f"{self.headline} ({self.cost})"]
        parts += [f"{n}. {finding}" for n, finding in enumerate(self.findings, 1)]
        parts += [str(note) for note in self.notes]
        return "\n".join(parts)

    def to_frame(self) -> pd.DataFrame:
        """Findings as a DataFrame, one row each; empty with the same columns when all is well."""
        import pandas as pd

        rows = [asdict(f) | {"severity": f.severity} for f in self.findings]
        return pd.DataFrame(rows, columns=list(self.columns))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        findings = [asdict(f) | {"severity": f.severity} for f in self.findings]
        return {"ok": self.ok, **asdict(self), "findings": findings}

    def _repr_html_(self) -> str:
        from bugzoo.finding_html import html

        return html(self)


@dataclass
class Checkup(Result):
    """The result of `check`; `done` names the variations that were run, in order."""

    done: list[str] = field(default_factory=list)
    given: int = 0  # of all passes those on inputs of the size given or more
    values: bool = True  # the values of the gradient could be examined

    @property
    def verdict(self) -> str:
        return "ok" if self.values else "not examined"

    @property
    def healthy(self) -> str:
        if not self.values:
            return "the values of the gradient"
        return f"no defect on {len(self.done)} variation{'s' * (len(self.done) != 1)}"


@dataclass
class Audit(Result):
    """The result of `audit`; `steps` is how many were observed."""

    steps: int = 0

    @property
    def healthy(self) -> str:
        return f"no defect in {self.steps} steps"
