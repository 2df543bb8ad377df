"""Where a miss comes from: the bug was never awake, or awake and not seen.

bugs = n/a + loud + dormant + awake;  awake = caught + not seen + abstained + failed.
dormant: awake in no case that the detector could run, so its inputs are to blame, not its rule.
not seen: it looked where the bug is awake, so its rule is. failed: raised, error, timeout, crash.
"""

import pandas as pd

from reports import _units

PLACE = 7
COLUMNS = ["bugs", "n/a", "loud", "dormant", "awake", "caught", "not seen", "abstained", "failed"]


def reached(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a detector; every broken twin of the run is in exactly one column."""
    bugs = _units.bugs(trials)
    counts = bugs.groupby(["detector", "state"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(_units.STATES), fill_value=0)
    made = counts.rename(columns={"not applicable": "n/a", "missed": "not seen"})
    made.insert(0, "bugs", counts.sum(axis=1))
    made.insert(1, "awake", counts[list(_units.SCORED)].sum(axis=1))
    made.columns.name = None
    return made[COLUMNS].reset_index()
