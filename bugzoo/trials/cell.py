"""One cell, run where it stands: a detector on a subject, or the oracle on a specimen.

Nothing that a cell raises gets out, and what comes back is plain data: strings, numbers, lists and
dictionaries of them, never an exception or a tensor.
"""

import hashlib
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch

from bugzoo.catalog import Catalog
from bugzoo.errors import DetectorError
from bugzoo.model import Specimen
from bugzoo.oracle.judge import judge
from bugzoo.subject import subject
from bugzoo.trials.limits import MEMORY, limited

Answer = dict[str, Any]
LONGEST = 1000  # characters of a reason or an error that are kept


class Cell(NamedTuple):
    """What is asked; `detector` is '' where the oracle is."""

    detector: str
    specimen: str
    view: str
    case: str
    seed: int


def run(catalog: Catalog, cell: Cell) -> Answer:
    """The columns of a trial from a detector; witnesses and probes, or outcome and because, of the oracle."""
    specimen = catalog.specimens[cell.specimen]
    with seeded(specimen.file, cell.case, cell.seed) as gen:
        return _trial(catalog, specimen, cell, gen) if cell.detector else _truth(specimen, cell)


@contextmanager
def seeded(file: str, case: str, seed: int) -> Iterator[torch.Generator]:
    """A generator for this case, the same for both twins and for every detector.

    The global states of torch, NumPy and random get the same seed, for code of third parties that
    reads them, and are put back afterwards.
    """
    number = int.from_bytes(hashlib.sha256(f"{file} {case} {seed}".encode()).digest()[:4], "big")
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(number)  # torch.manual_seed costs 0.3 ms, for other devices
    np.random.seed(number)
    random.seed(number)
    try:
        yield torch.Generator().manual_seed(number)
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _truth(specimen: Specimen, cell: Cell) -> Answer:
    try:
        with limited():
            finding = judge(specimen, specimen.case(cell.case))
    except BaseException as error:
        return _failure(error)
    plain = [
        {k: words(v) if isinstance(v, str) else v for k, v in asdict(w).items()}
        for w in finding.witnesses
    ]
    return {"witnesses": plain, "probes": finding.probes}


def _trial(catalog: Catalog, specimen: Specimen, cell: Cell, gen: torch.Generator) -> Answer:
    detector, seen = catalog.detectors[cell.detector], None
    start = time.perf_counter()
    try:
        seen = subject(specimen, specimen.case(cell.case))
        with limited():
            start = time.perf_counter()
            verdict = detector(seen, gen)
            seconds = time.perf_counter() - start
        answer = {
            "outcome": verdict.outcome,
            "score": float(verdict.score),
            "because": words(verdict.because),
            "where": words(verdict.where),
        }
    # A cell may raise SystemExit or KeyboardInterrupt as well; a worker ends when its parent says so.
    except BaseException as error:
        seconds = time.perf_counter() - start
        answer = {"score": float("nan"), "where": "", **_failure(error)}
    passes = (seen.forwards, seen.backwards) if seen else (0, 0)
    return {**answer, "seconds": seconds, "forwards": passes[0], "backwards": passes[1]}


def _failure(error: BaseException) -> Answer:
    """`raised` where the subject did it, else `error`; the place is the last line of Python."""
    with suppress(Exception):
        traceback.print_exception(error)  # to the workers' log
    said = words(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        limit = f"out of memory, {MEMORY >> 30} GiB a cell"
        return {"outcome": "error", "because": f"{limit}: {said or 'MemoryError'}"}
    if isinstance(error, DetectorError):
        return {"outcome": "error", "because": said}
    reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
    lines = list(_lines(error))
    for file, line in reversed(lines):
        if file.startswith("<subject-"):
            return {"outcome": "raised", "because": f"{reason} (subject, line {line})"}
    place = f" ({lines[-1][0].rpartition('/')[2]}, line {lines[-1][1]})" if lines else ""
    return {"outcome": "error", "because": reason + place}


def _lines(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """File and line of every frame that the error passed, and those that caused it."""
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def words(thing: Any) -> str:
    """`thing` as one line that any file can hold."""
    try:
        text = str(thing)
    except BaseException as error:
        text = f"<{type(thing).__name__} whose text raises {type(error).__name__}>"
    line = " ".join(text[: 4 * LONGEST].split())[:LONGEST]
    return line.encode("utf-8", "replace").decode().replace("\0", "")
