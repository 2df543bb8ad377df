"""Every detector on the frozen mutants of the run: what it catches of the wrong ones, whom it blames.

Recall is over mutants that the detector can run, that are awake and silent, and that show in a
channel it claims; what it catches of the others is 'beyond'. The interval is Wilson's, 95 %, and
takes mutants as independent, which they are not: many are caught by the same detectors. A pattern
is the set of detectors that catch a mutant, and it is minimal when no other mutant's is a proper
part of it: whoever catches that one catches this one too. 'collapsed' is recall over
the distinct minimal patterns, each counted once. 'false alarms': harmless mutants that are alarmed.
"""

import pandas as pd

from reports import _rates, _units

PLACE = 3
MUTANTS = True
COLUMNS = [
    *("detector", "mutants", "claimed", "caught", "recall", "low", "high", "beyond"),
    *("patterns", "minimal", "collapsed", "harmless", "false alarms"),
]


def mutants(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a detector that ran on mutants; recall falling, then the name."""
    some = trials[_units.is_mutant(trials)]
    scored = _units.scored(_units.bugs(some))
    caught = scored["state"].eq("caught")
    kills = scored[caught].groupby("specimen")["detector"].agg(frozenset)
    healthy = _units.healthy(some)
    rows = []
    for name in sorted(_units.ran(some)["detector"].unique()):
        mine = scored[scored["detector"].eq(name)]
        claimed = mine["claimed"].astype(bool)
        hit = mine["state"].eq("caught")
        k, n = int((hit & claimed).sum()), int(claimed.sum())
        patterns = set(kills.reindex(mine.loc[claimed, "specimen"]).dropna())
        least = minimal(patterns)
        harmless = healthy[healthy["detector"].eq(name)]
        rows.append(
            [
                *(name, len(mine), n, k, _rates.share(k, n), *_rates.wilson(k, n)),
                *(int((hit & ~claimed).sum()), len(patterns), len(least)),
                _rates.share(sum(name in pattern for pattern in least), len(least)),
                *(len(harmless), _rates.share(int(harmless["alarmed"].sum()), len(harmless))),
            ]
        )
    made = pd.DataFrame(rows, columns=COLUMNS)
    return made.sort_values(["recall", "detector"], ascending=[False, True], ignore_index=True)


def minimal(patterns: set[frozenset[str]]) -> set[frozenset[str]]:
    """The patterns of which no other is a proper part: their mutants subsume all others."""
    return {p for p in patterns if not any(other < p for other in patterns)}
