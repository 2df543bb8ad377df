"""Right code whose gradients vanish or explode, and who says so.

An alarm here is neither a hit nor a false alarm: the code computes the derivative, the architecture
is at fault.
"""

import pandas as pd

from reports import _units

PLACE = 7
COLUMNS = ["specimen", "detector", "alarms", "runs", "because"]


def sick_gradients(trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each sick specimen and each detector that alarms on it, with its reason."""
    ran = _units.ran(trials[trials["twin"].eq("sick")])
    pair = ["specimen", "detector"]
    runs = ran.groupby(pair).size().rename("runs")
    alarmed = ran[ran["outcome"].eq("alarm")].sort_values([*pair, "case", "seed"])
    alarms = alarmed.groupby(pair).size().rename("alarms")
    made = (
        alarmed.drop_duplicates(pair)[[*pair, "because"]].join(alarms, on=pair).join(runs, on=pair)
    )
    return made[COLUMNS].sort_values(pair, ignore_index=True)
