"""Every mutation operator: the share of its mutants that each detector catches.

A mutant counts for a detector that can run it, where it is awake and silent, in a channel that the
detector claims; the cell is empty where none does. The hardest operators come first: those whose
best detector catches least. Only operators with mutants in the run.
"""

import pandas as pd

from reports import _rates, _units

PLACE = 4
MUTANTS = True


def operators(trials: pd.DataFrame) -> pd.DataFrame:
    """A row an operator, a column a detector; best recall rising, then the mean, then the name."""
    some = trials[_units.is_mutant(trials)]
    made_by = some.groupby("specimen")["operator"].first()
    scored = _units.scored(_units.bugs(some))
    scored = scored[scored["claimed"].astype(bool)].assign(
        operator=lambda s: s["specimen"].map(made_by), hit=lambda s: s["state"].eq("caught")
    )
    names = sorted(scored["detector"].unique())
    rows = []
    for operator, mine in scored.groupby("operator"):
        own = mine.groupby("detector")["hit"]
        shares = [_rates.share(own.sum().get(name, 0), own.count().get(name, 0)) for name in names]
        rows.append([operator, mine["specimen"].nunique(), *shares])
    made = pd.DataFrame(rows, columns=["operator", "mutants", *names])
    made = made.assign(best=made[names].max(axis=1), mean=made[names].mean(axis=1))
    made = made.sort_values(["best", "mean", "operator"], ignore_index=True)
    return made[["operator", "mutants", *names]]
