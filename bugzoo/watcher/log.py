"""What `watch` returns: findings and notes as they come in, one record a step, readable at any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bugzoo.finding import Finding, Note, Result

if TYPE_CHECKING:
    import pandas as pd

NAMES = 3  # parameters that a message names; of more it gives the number


@dataclass
class Record:
    """One kind of event at one place: seen first when, how often, of which parameters."""

    channel: str
    what: str
    cause: str = ""
    line: str = ""
    yours: float | None = None
    true: float | None = None
    steps: list[int] = field(default_factory=list)
    times: int = 0  # where the steps are not counted one by one
    names: dict[str, None] = field(default_factory=dict)

    @property
    def where(self) -> str:
        names = list(self.names)
        more = len(names) - NAMES
        return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")

    def finding(self) -> Finding:
        return Finding(
            self.channel,
            self.what,
            where=self.where,
            yours=self.yours,
            true=self.true,
            cause=self.cause,
            step=self.steps[0] if self.steps else None,
            line=self.line,
            times=max(self.times, len(self.steps)),
        )


@dataclass
class Log(Result):
    """`.ok`, `.findings`, `.notes`; `steps` is how many optimizer steps were seen.

    `steps_frame()` has one row a step: optimizer, gradient norm, backward passes, line.
    """

    records: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _found: dict[tuple[Any, ...], Record] = field(default_factory=dict, repr=False)

    @property
    def steps(self) -> int:
        return len(self.records)

    @property
    def healthy(self) -> str:
        return f"no defect in {self.steps} step{'s' * (self.steps != 1)}"

    def report(
        self, kind: tuple[Any, ...], step: int | None, names: Iterable[str] = (), **words: Any
    ) -> Record:
        """The defect `kind` was seen at this step; said once, counted each time."""
        record = self._found.get(kind)
        if record is None:
            record = self._found[kind] = Record(**words)
        if step is not None and step not in record.steps:
            record.steps.append(step)
        record.names.update(dict.fromkeys(names))
        self.findings = [r.finding() for r in self._found.values()]
        return record

    def has(self, kind: str) -> bool:
        """Was something of this kind reported?"""
        return any(key[0] == kind for key in self._found)

    def note(self, kind: str, what: str) -> None:
        """Something to know, said once."""
        note = Note(kind, what)
        if note not in self.notes:
            self.notes.append(note)

    def __str__(self) -> str:
        parts = [f"{self.headline} ({self.steps} steps, {self.cost.seconds:.2f} s)"]
        parts += [f"{n}. {finding}" for n, finding in enumerate(self.findings, 1)]
        parts += [str(note) for note in self.notes]
        return "\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        found.pop("_found", None)
        return found

    def steps_frame(self) -> pd.DataFrame:
        """One row a step of an optimizer: what the gradient was, and where it came from."""
        import pandas as pd

        columns = ["step", "optimizer", "norm", "parameters", "backwards", "clipped", "line"]
        return pd.DataFrame(self.records, columns=columns)
