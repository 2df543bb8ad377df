"""Resident memory of the process after every step: does it climb?

slope = (median of the last quarter - median of the first) / steps between          bytes a step
"""

import os
from pathlib import Path
from statistics import median

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject

WARM, STEPS = 8, 32
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
STATM = Path("/proc/self/statm")


@detector(
    needs="training",
    claims="memory",
    cost="40 steps; one read of /proc a step",
    blind_to="leaks below a page a step, which is most graphs of small models; what the allocator "
    "had in reserve; every wrong number. Caches and other threads alarm",
    thresholds={"slope = 1 page": "the smallest change that resident memory can show"},
)
def rss_slope(subject: Subject, gen: Generator) -> Verdict:
    if not STATM.exists():
        return Verdict("abstain", because="this system does not tell its resident memory")
    run = subject.start(gen)
    for _ in range(WARM):
        run.advance()
    readings = []
    for _ in range(STEPS):
        run.advance()
        readings.append(int(STATM.read_text().split()[1]) * PAGE)
    quarter = STEPS // 4
    climbed = median(readings[-quarter:]) - median(readings[:quarter])
    slope = climbed / (STEPS - quarter)
    because = f"{slope:.0f} bytes a step, expected below {PAGE}"
    return Verdict("alarm" if slope >= PAGE else "clear", slope, because)
