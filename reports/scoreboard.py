"""Every detector: what it catches of the bugs it can be shown, its false alarms, what it costs.

A bug is one unit. It counts where the detector can run it and it is awake and silent in some case;
it is caught when, in at least one such case, more than half of the seeds alarm. Errors, time-outs
and crashes are misses, never detections; loud bugs are left out. A healthy specimen is alarmed
likewise, in any case. Precision, J (recall + specificity - 1) and MCC are over specimens;
'false alarms' is the share of alarmed runs on correct twins and controls. The interval is
Wilson's, 95 %, and takes bugs as independent. Medians are over runs. Where the run holds frozen
mutants, their columns stand last: recall over those in channels that the detector claims, the same
collapsed to minimal patterns, and the share of harmless mutants alarmed; see the table 'mutants'.
"""

import pandas as pd

from reports import _rates, _units
from reports.mutants import mutants

PLACE = 1
MUTANTS = True
COLUMNS = [
    *("detector", "bugs", "caught", "recall", "low", "high", "false alarms"),
    *("precision", "J", "MCC", "median seconds", "median forwards", "median backwards"),
]


def scoreboard(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a detector; recall falling, then false alarms rising, then the name."""
    bred, trials = mutants(trials), _units.handmade(trials)
    bugs, healthy, ran = _units.bugs(trials), _units.healthy(trials), _units.ran(trials)
    rows = []
    for name in sorted(trials["detector"].unique()):
        mine = _units.scored(bugs[bugs["detector"].eq(name)])
        others = healthy[healthy["detector"].eq(name)]
        tp, fp = int(mine["state"].eq("caught").sum()), int(others["alarmed"].sum())
        fn, tn = len(mine) - tp, len(others) - fp
        rates = [
            _rates.share(tp, tp + fn),
            *_rates.wilson(tp, tp + fn),
            _rates.share(others["alarms"].sum(), others["runs"].sum()),
            _rates.share(tp, tp + fp),
            _rates.youden(tp, fn, fp, tn),
            _rates.mcc(tp, fn, fp, tn),
        ]
        spent = ran.loc[ran["detector"].eq(name), ["seconds", "forwards", "backwards"]].median()
        rows.append([name, tp + fn, tp, *rates, *spent])
    made = pd.DataFrame(rows, columns=COLUMNS)
    if len(bred):
        named = {"recall": "mutant recall", "false alarms": "harmless alarmed"}
        named["claimed"] = "mutants"
        kept = bred[["detector", "claimed", "recall", "collapsed", "false alarms"]]
        made = made.merge(kept.rename(columns=named), on="detector", how="left")
    order = ["recall", "false alarms", "detector"]
    return made.sort_values(order, ascending=[False, True, True], ignore_index=True)
