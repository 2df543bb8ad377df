"""What a detector spends on one run: median, 95th percentile and total.

Over all runs where it had something to look at, failed ones included. Seconds are wall time on
the machine of the run; forwards and backwards are passes of the subject, the same on any machine.
"""

import pandas as pd

from reports import _units

PLACE = 9
SPENT = ["seconds", "forwards", "backwards"]


def cost(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a detector, sorted by name; detectors that ran nowhere have no cost."""
    runs = _units.ran(trials)
    runs = runs.assign(**{what: pd.to_numeric(runs[what]) for what in SPENT})  # also when empty
    by_name = runs.groupby("detector", sort=True)
    made = pd.DataFrame({"runs": by_name.size()})
    for what in SPENT:
        column = by_name[what]
        made[f"median {what}"] = column.median()
        made[f"p95 {what}"] = column.quantile(0.95)
        made[f"total {what}"] = column.sum()
    return made.reset_index()
