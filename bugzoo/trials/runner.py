"""One run: the oracle decides what is wrong where, the detectors are tried, every answer is stored."""

import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import bugzoo
from bugzoo.catalog import Catalog
from bugzoo.errors import UserError
from bugzoo.model import Peer
from bugzoo.oracle.claims import claim
from bugzoo.oracle.judge import Finding
from bugzoo.oracle.witness import Witness
from bugzoo.trials import facts, plan
from bugzoo.trials.cell import Answer, Cell
from bugzoo.trials.plan import Selection
from bugzoo.trials.pool import Pool, jobs_from, timeout_from
from bugzoo.trials.store import Store

ORACLE_TIMEOUT = 120.0  # seconds for one specimen in one case: not the user's to cut short
LOG = "workers.log"
Progress = Callable[[int, int, str], None]  # cells of this phase, how many are done, its name


def run(
    catalog: Catalog,
    selection: Selection,
    *,
    out: str | Path = "results",
    jobs: Any = None,
    timeout: Any = 30.0,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run the selection with `jobs` workers (None: one a core); returns the results file in `out`.

    `timeout` is in seconds for a cell. With `resume` what `out` holds already, by content, is not
    run again. The inputs of a cell depend on file, case and seed alone, so neither the number of
    workers nor the order of the cells changes an answer. Ctrl-C keeps all that was finished.
    Detectors that drive a peer come last, each peer in a pool of its own.
    """
    jobs, timeout, out = jobs_from(jobs), timeout_from(timeout), Path(out)
    progress = progress or (lambda total, done, text: None)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    asked = plan.truths(catalog, selection)
    train = any(cell.view == "training" for cell in asked)
    log = out / LOG
    with Store(out, resume=resume) as store:
        with _pool(catalog, jobs, log, train) as pool:
            key = plan.Keys(catalog)
            truths = {c: key(c, ORACLE_TIMEOUT) for c in asked}
            to_run, beside = plan.trials(catalog, selection)
            trials = {c: key(c, timeout) for c in (*to_run, *beside)}
            store.begin(
                [*truths.values(), *trials.values()],
                {i: facts.of_specimen(catalog, catalog.specimens[i]) for i, _ in selection.pairs},
                {d: facts.of_detector(catalog.detectors[d]) for d in selection.detectors},
            )
            store.note(
                versions=_versions(),
                seeds=list(selection.seeds),
                jobs=jobs,
                timeout=timeout,
                selection=dict(selection.asked),
                started=started,
                cells=len(truths) + len(trials),
                absent=plan.absent(catalog, selection),
            )
            done = store.finished()
            for cell, answer in _counted(
                pool, truths, done, ORACLE_TIMEOUT, progress, "ground truth"
            ):
                store.add_truth(_witnesses(cell, truths[cell], answer))
            lies = _lies(catalog, store.truth())
            store.note(oracle_seconds=time.perf_counter() - clock, lies=lies)

            def tried(pool: Pool, cells: list[Cell], text: str) -> None:
                keys = {c: trials[c] for c in cells}
                for cell, answer in _counted(pool, keys, done, timeout, progress, text):
                    store.add_trials([_trial(cell, trials[cell], answer)])

            store.add_trials(
                _trial(c, trials[c], NOT_APPLICABLE | {"because": why}) for c, why in beside.items()
            )
            groups = _by_peer(catalog, to_run)
            tried(pool, groups.pop(None, []), "trials")
        for peer, cells in groups.items():
            assert peer is not None
            if any(trials[c] not in done for c in cells):
                with _mendable(peer), _pool(catalog, jobs, log, train, peer) as pool:
                    tried(pool, cells, peer.name)
        store.note(wall_seconds=time.perf_counter() - clock)
    return store.path


NOT_APPLICABLE: Answer = {
    "outcome": "not_applicable",
    "score": math.nan,
    "because": "",
    "where": "",
    "seconds": 0.0,
    "forwards": 0,
    "backwards": 0,
}


@contextmanager
def _pool(
    catalog: Catalog, jobs: int, log: Path, train: bool, peer: Peer | None = None
) -> Iterator[Pool]:
    try:
        pool = Pool(catalog, jobs=jobs, log=log, train=train, peer=peer)
    except OSError as error:
        raise UserError(f"no worker can be started: {error}") from None
    with pool:
        yield pool


@contextmanager
def _mendable(peer: Peer) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        remedy = (
            f"'bugzoo peers install --again {peer.name}' builds it anew, then --resume goes on."
        )
        raise UserError(f"peer '{peer.name}': {error}\n{remedy}") from None


def _by_peer(catalog: Catalog, cells: list[Cell]) -> dict[Peer | None, list[Cell]]:
    """The cells of detectors that need no peer, under None, then those of each peer."""
    found: dict[Peer | None, list[Cell]] = {}
    for cell in cells:
        found.setdefault(catalog.detectors[cell.detector].peer, []).append(cell)
    return found


def _counted(
    pool: Pool,
    keys: dict[Cell, str],
    done: set[str],
    timeout: float,
    progress: Progress,
    text: str,
) -> Iterator[tuple[Cell, Answer]]:
    """Answers of the cells that are not `done`, in the order in which they come in."""
    left = [cell for cell, key in keys.items() if key not in done]
    finished = len(keys) - len(left)
    progress(len(keys), finished, text)
    for cell, answer in pool.run(left, timeout):
        yield cell, answer
        finished += 1
        progress(len(keys), finished, text)


def _trial(cell: Cell, key: str, answer: Answer) -> dict[str, Any]:
    return {**cell._asdict(), **answer, "key": key}


def _witnesses(cell: Cell, key: str, answer: Answer) -> list[dict[str, Any]]:
    """One row for each channel. A pass that the oracle's worker does not survive is a loud bug."""
    if "witnesses" not in answer:
        said = f"{answer['outcome']}: {answer['because']}"
        lost = Witness("contract", True, "in a worker", said, math.inf, loud=True)
        answer = {"witnesses": [vars(lost)], "probes": 0}
    about = {"key": key, "specimen": cell.specimen, "case": cell.case, "probes": answer["probes"]}
    return [{**witness, **about} for witness in answer["witnesses"]]


def _lies(catalog: Catalog, truth: list[dict[str, Any]]) -> list[str]:
    """Claims of labels that the oracle does not bear out, one line each."""
    fields = Witness.__dataclass_fields__
    lies = []
    for (specimen, case), rows in groupby(truth, key=lambda row: (row["specimen"], row["case"])):
        listed = list(rows)
        witnesses = tuple(Witness(**{f: row[f] for f in fields}) for row in listed)
        finding = Finding(specimen, case, witnesses, listed[0]["probes"])
        made = claim(catalog.specimens[specimen], finding)
        if not made.holds:
            lies.append(f"{specimen} in {case}: the label says {made.says}; {made.words}")
    return sorted(lies)


def _versions() -> dict[str, str]:
    return {
        "bugzoo": bugzoo.__version__,
        "torch": version("torch"),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
