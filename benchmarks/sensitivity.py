"""D50 of every operation detector: the smallest relative error that it catches half the time.

    python benchmarks/sensitivity.py                       all operation detectors
    python benchmarks/sensitivity.py gradcheck one_index   only these

The first gradient that backward returns is multiplied by 1 + d, for d = 10^-1 ... 10^-9, in every
correct operation where that can be done; each is tried in its first case. The table holds the share
of them that is caught at each d, and at d = 0 the share of false alarms. D50 is the smallest d such
that at least half is caught at d and at every larger one. What the oracle's value channel does not
see at d = 0.1, because that gradient is zero or never delivered, is left out.
"""

import hashlib
import sys
import warnings
from dataclasses import replace
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # else this file would hide the package `detectors`

import torch

from bugzoo import catalog, source
from bugzoo.model import Detector, Specimen
from bugzoo.mutation.breed import mutants
from bugzoo.mutation.operators.magnitude import factor
from bugzoo.oracle.judge import judge
from bugzoo.subject import subject

SIZES = tuple(10.0**-n for n in range(1, 10))


def scaled(specimen: Specimen, d: float) -> Specimen | None:
    """The specimen with its first returned gradient times 1 + d; None where there is none."""
    made = mutants(source.standalone(specimen.cls), operators=[factor(d)])
    return replace(specimen, cls=source.written(made[0].text, specimen.cls)) if made else None


def alarms(detector: Detector, specimen: Specimen) -> bool | None:
    """Does it alarm in the first case? None where it is not applicable."""
    case = specimen.truth.cases[0]
    seen = subject(specimen, case)
    if set(detector.needs) - seen.offers:
        return None
    seed = int.from_bytes(hashlib.sha256(specimen.id.encode()).digest()[:4], "big")
    try:
        return detector(seen, torch.Generator().manual_seed(seed)).outcome == "alarm"
    except Exception:
        return False  # an error is never a detection


def share(detector: Detector, specimens: list[Specimen]) -> float:
    found = [a for s in specimens if (a := alarms(detector, s)) is not None]
    return sum(found) / len(found) if found else float("nan")


def d50(shares: list[float]) -> str:
    """The smallest size that is still caught half the time, coming from the large ones."""
    smallest = "-"
    for size, caught in zip(SIZES, shares):
        if not caught >= 0.5:
            break
        smallest = f"{size:.0e}"
    return smallest


def main(names: list[str]) -> None:
    """The table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    zoo = catalog.load()
    right = [s for s in zoo.specimens.values() if s.twin == "correct" and s.kind == "operation"]
    right = [
        s
        for s in right
        if (large := scaled(s, 0.1)) and "value" in judge(large, s.truth.cases[0], 1).awake
    ]
    rows = [[s for s in (scaled(r, d) for r in right) if s] for d in SIZES]
    print(f"{len(right)} operations; share caught at d = 10^-n, and of false alarms at d = 0")
    heads = "".join(f"{-n:5}" for n in range(1, 10))
    print(f"{'detector':22}{'D50':>7}{heads}{'0':>6}")
    for name, detector in sorted(zoo.detectors.items()):
        if (names and name not in names) or "operation" not in detector.needs or detector.peer:
            continue
        shares = [share(detector, row) for row in rows]
        cells = "".join(f"{s:5.2f}" for s in shares)
        print(f"{name:22}{d50(shares):>7}{cells}{share(detector, right):6.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
