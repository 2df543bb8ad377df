"""What became of each mutant, and the score.

    score = killed / (killed + survived)        with Wilson's interval

killed      a test fails              survived    every test passes
timeout     no end in time            crash       the process died: neither is a kill
equivalent  equal to the original on all probes, and no test fails: there is nothing to notice
second      differs in second derivatives alone, and no test fails
stillborn   raises on every probe, or as soon as it is defined: nobody would commit it
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from bugzoo.mutation.breed import PAIR
from bugzoo.mutation.project.breeding import Bred
from reports._rates import wilson

STATUSES = ("killed", "survived", "timeout", "crash", "equivalent", "second", "stillborn")


@dataclass
class Result:
    """One mutant and what is known of it. `wrong`, `raised` of `probes`; `error` on the worst."""

    mutant: Bred
    status: str = ""
    killed_by: str = ""
    why: str = ""
    ran: int = 0
    seconds: float = 0.0
    kind: str = ""
    probes: int = 0
    wrong: int = 0
    raised: int = 0
    error: float = 0.0
    words: str = ""
    probe: int = -1
    witness: str = ""
    test: str = ""

    @property
    def counts(self) -> bool:
        return self.status in ("killed", "survived")


@dataclass
class Outcome:
    """All results of one run, and what was run."""

    target: str
    file: str
    source: str
    command: str
    results: list[Result] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    detectors: list[str] = field(default_factory=list)
    probes: int = 0
    baseline: float = 0.0
    seconds: float = 0.0
    reused: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(r.status == "killed" for r in self.results)

    @property
    def counted(self) -> int:
        return sum(r.counts for r in self.results)

    @property
    def percent(self) -> float:
        return 100 * self.killed / self.counted if self.counted else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        low, high = wilson(self.killed, self.counted)
        return 100 * low, 100 * high

    def by_status(self) -> Counter[str]:
        return Counter(r.status for r in self.results)

    def survivors(self) -> list[Result]:
        """The most instructive first: wrong on most probes, then by the size of the error."""
        listed = [r for r in self.results if r.status == "survived"]
        return sorted(
            listed,
            key=lambda r: (-_share(r.wrong, r.probes), -r.error, r.mutant.first, r.mutant.id),
        )

    def by_operator(self) -> list[dict[str, Any]]:
        """A row for each operator, those with most survivors first; a pair stands in two rows."""
        rows = []
        named = [(name, r.status) for r in self.results for name in r.mutant.operator.split(PAIR)]
        for name in sorted({name for name, _ in named}):
            own = Counter(status for n, status in named if n == name)
            rows.append({"operator": name, **{s: own[s] for s in STATUSES}})
        return sorted(rows, key=lambda row: (-row["survived"], -row["killed"], row["operator"]))

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        counted = self.counted
        return {
            "target": self.target,
            "command": self.command,
            "detectors": self.detectors,
            "score": self.percent if counted else None,
            "interval": [low, high] if counted else None,
            "counts": {s: self.by_status()[s] for s in STATUSES},
            "by_operator": self.by_operator(),
            "tests": len(self.tests),
            "tests_that_reach_it": len(self.reached),
            "probes": self.probes,
            "baseline_seconds": round(self.baseline, 3),
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
            "mutants": [
                asdict(r.mutant) | {k: v for k, v in _finite(vars(r)).items() if k != "mutant"}
                for r in self.results
            ],
        }


def _share(k: int, n: int) -> float:
    return k / n if n else 0.0


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: the error of a mutant that gives NaN, or raises, is null."""
    return {k: None if v == float("inf") else v for k, v in fields.items()}
