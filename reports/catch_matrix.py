"""Caught of the bugs that count, detector by family; empty where a detector can be shown none."""

import pandas as pd

from reports import _units

PLACE = 3


def catch_matrix(trials: pd.DataFrame) -> pd.DataFrame:
    """A row a detector, a column a family, 'caught/bugs' in the cells and over all families."""
    scored = _units.scored(_units.bugs(trials))
    families = ["all", *sorted(scored["family"].unique())]
    rows = []
    for name in sorted(trials["detector"].unique()):
        mine = scored[scored["detector"].eq(name)]
        parts = [mine, *(mine[mine["family"].eq(f)] for f in families[1:])]
        rows.append([name, *map(_part, parts)])
    return pd.DataFrame(rows, columns=["detector", *families])


def _part(bugs: pd.DataFrame) -> str:
    return f"{bugs['state'].eq('caught').sum()}/{len(bugs)}" if len(bugs) else ""
