"""Bugs that nobody catches, and bugs that one detector alone catches.

'could see' counts the detectors that ran the bug in a case where it is awake and silent.
"""

import pandas as pd

from reports import _units

PLACE = 5
COLUMNS = ["bug", "family", "channel", "caught by", "could see"]


def blind_spots(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a bug; those caught by nobody first, then by the lone catcher's name."""
    rows = []
    for bug, seen in _units.scored(_units.bugs(trials)).groupby("specimen", sort=True):
        catchers = list(seen.loc[seen["state"].eq("caught"), "detector"])
        if len(catchers) < 2:
            first = seen.iloc[0]
            alone = catchers[0] if catchers else "nobody"
            rows.append([len(catchers), bug, first["family"], first["channel"], alone, len(seen)])
    made = pd.DataFrame(rows, columns=["catchers", *COLUMNS])
    return made.sort_values(["catchers", "caught by", "bug"], ignore_index=True)[COLUMNS]
