"""Every alarm on a correct implementation, with the reason that the detector gave.

'counts' says that in some case more than half of the seeds alarm: then the specimen is one false
positive of the scoreboard. The reason is that of the run with the highest score.
"""

import pandas as pd

from reports import _units

PLACE = 6
PAIR = ["detector", "specimen"]
COLUMNS = [*PAIR, "alarms", "runs", "counts", "because"]


def false_alarms(trials: pd.DataFrame) -> pd.DataFrame:
    """A row for each detector and healthy specimen with at least one alarm."""
    healthy = _units.healthy(trials)
    alarms = trials[trials["twin"].isin(_units.HEALTHY) & trials["outcome"].eq("alarm")]
    order = ["score", "case", "view", "seed"]
    worst = alarms.sort_values(order, ascending=[False, True, True, True]).drop_duplicates(PAIR)
    made = healthy[healthy["alarms"].gt(0)].merge(worst[[*PAIR, "because"]], on=PAIR)
    made["counts"] = made["alarmed"].map({True: "yes", False: "no"})
    order = ["detector", "alarms", "specimen"]
    return made[COLUMNS].sort_values(order, ascending=[True, False, True], ignore_index=True)
