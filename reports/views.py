"""Recall with the operation in hand, and with only a training run that it is part of.

The same counting as the scoreboard, for each view by itself. A loop offers only the second view.
"""

import pandas as pd

from reports import _rates, _units

PLACE = 8
COLUMNS = ["detector", "view", "bugs", "caught", "recall", "low", "high"]


def views(trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each detector and view in which it can be shown a bug."""
    rows = []
    for view in sorted(trials["view"].unique()):
        scored = _units.scored(_units.bugs(trials[trials["view"].eq(view)]))
        for name, mine in scored.groupby("detector", sort=True):
            k, n = int(mine["state"].eq("caught").sum()), len(mine)
            rows.append([name, view, n, k, _rates.share(k, n), *_rates.wilson(k, n)])
    made = pd.DataFrame(rows, columns=COLUMNS)
    return made.sort_values(["detector", "view"], ignore_index=True)
