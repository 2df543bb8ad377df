"""Recall where a detector claims to see, and what it catches beyond its claim.

A bug is claimed when, in a case where it is awake and silent, it shows in a channel that the
detector claims. The interval is Wilson's, 95 %.
"""

import pandas as pd

from reports import _rates, _units

PLACE = 2
COLUMNS = ["detector", "claimed", "caught", "recall", "low", "high", "beyond", "caught beyond"]


def claims(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a detector, sorted by name."""
    scored = _units.scored(_units.bugs(trials))
    rows = []
    for name in sorted(trials["detector"].unique()):
        mine = scored[scored["detector"].eq(name)]
        inside, beyond = mine[mine["claimed"]], mine[~mine["claimed"]]
        k, n = int(inside["state"].eq("caught").sum()), len(inside)
        extra = int(beyond["state"].eq("caught").sum())
        rows.append([name, n, k, _rates.share(k, n), *_rates.wilson(k, n), len(beyond), extra])
    return pd.DataFrame(rows, columns=COLUMNS)
