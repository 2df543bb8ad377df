"""Every detector: what it catches of the bugs it can be shown, its false alarms, what it costs.

A bug is one unit. It counts where the detector can run it and it is awake and silent in some case;
it is caught when, in at least one such case, more than half of the seeds alarm. Errors, time-outs
and crashes are misses, never detections; loud bugs are left out. A healthy specimen is alarmed
likewise, in any case. Precision, J (recall + specificity - 1) and MCC are over specimens;
'false alarms' is the share of alarmed runs on correct twins and controls. The interval is
Wilson's, 95 %, and treats bugs as independent. Medians are over runs.
"""

import pandas as pd

from reports import _rates, _units

PLACE = 1
COLUMNS = "detector bugs caught recall low high false_alarms precision J MCC seconds forwards backwards"


def scoreboard(trials: pd.DataFrame) -> pd.DataFrame:
    states, well, runs = _units.bugs(trials), _units.healthy(trials), _units.ran(trials)
    rows = []
    for name in sorted(trials["detector"].unique()):
        mine = _units.scored(states[states["detector"].eq(name)])
        tp = int(mine["state"].eq("caught").sum())
        fn = len(mine) - tp
        others = well[well["detector"].eq(name)]
        fp = int(others["alarmed"].sum())
        tn = len(others) - fp
        spent = runs[runs["detector"].eq(name)][["seconds", "forwards", "backwards"]].median()
        rows.append(
            [
                name,
                tp + fn,
                tp,
                _rates.share(tp, tp + fn),
                *_rates.wilson(tp, tp + fn),
                _rates.share(others["alarms"].sum(), others["runs"].sum()),
                _rates.share(tp, tp + fp),
                _rates.youden(tp, fn, fp, tn),
                _rates.mcc(tp, fn, fp, tn),
                *spent,
            ]
        )
    made = pd.DataFrame(rows, columns=COLUMNS.replace("_", " ").split(" ") if False else _COLUMNS)
    return made
