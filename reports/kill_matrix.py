"""What every detector says of every bug, one word a pair.

caught: alarm in at least one case where the bug is awake. missed: it looked there and did not
alarm. abstained: it did not want to say. failed: raised, error, timeout or crash in all of them.
loud: the pass raises by itself. dormant: awake in no case that the detector could run.
"""

import pandas as pd

from reports import _units

PLACE = 4


def kill_matrix(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a bug, a column a detector, both sorted by name."""
    bugs = _units.bugs(trials)
    made = bugs.pivot(index="specimen", columns="detector", values="state")
    made.columns.name = None
    return made.reset_index().rename(columns={"specimen": "bug"})
