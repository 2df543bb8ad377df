"""Warm workers with a time-out for each cell; a bad cell costs only itself.

A hang becomes `timeout`. A dead worker becomes `crash`, but only after the cell has killed a second,
fresh worker in which it ran alone: a cell may die of what its predecessor left behind. No worker
outlives the pool, nor the parent, however that ends. A process that a cell started does so if it
left the worker's session, or if the parent was killed by SIGKILL.
"""

import json
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bugzoo import peers
from bugzoo.catalog import Catalog
from bugzoo.errors import UserError
from bugzoo.model import Peer
from bugzoo.trials.cell import Answer, Cell
from bugzoo.trials.nursery import Nursery
from bugzoo.trials.worker import FORK

MOST = 256  # workers
LONGEST = 1 << 20  # bytes of one answer


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def jobs_from(value: Any) -> int:
    """The number of workers that `value` asks for; every core for None or ''. UserError where it is absurd."""
    if value in (None, ""):
        return cores()
    most = max(1, min(4 * cores(), MOST))
    text = str(value)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise UserError(
            f"--jobs {value}: expected a whole number from 1 to {most} "
            f"(this machine has {cores()} cores)."
        )
    return int(text)


def timeout_from(value: Any) -> float:
    """Seconds that one cell may take. UserError where `value` is no such number."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 < seconds <= 86400:
        raise UserError(f"--timeout {value}: expected seconds, more than 0 and at most 86400.")
    return seconds


class _Worker:
    """One forked process as the parent sees it; it has at most one cell."""

    def __init__(self, pid: int, channel: socket.socket, nursery: Nursery):
        self.pid, self.channel, self.nursery = pid, channel, nursery
        self.handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self.cell: Cell | None = None
        self.number = 0
        self.since = self.deadline = 0.0
        self.dead = self.shut = False
        self._read = b""
        channel.setblocking(False)

    def give(self, cell: Cell, timeout: float) -> None:
        self.cell, self.number = cell, self.number + 1
        self.since = time.monotonic()
        self.deadline = self.since + timeout
        with suppress(OSError):  # it is dead, and will be found so
            self.channel.sendall(json.dumps([self.number, *cell]).encode() + b"\n")

    def answer(self) -> Answer | None:
        """The answer to its cell, when all of it is there. ValueError when it is none."""
        with suppress(BlockingIOError, ConnectionError):
            while len(self._read) < LONGEST:
                chunk = self.channel.recv(1 << 16)
                self.shut = not chunk
                if self.shut:
                    break
                self._read += chunk
        line, newline, self._read = self._read.partition(b"\n")
        if not newline:
            if len(line) >= LONGEST:
                raise ValueError("no end of the answer")
            self._read = line
            return None
        answer = json.loads(line)
        expected = isinstance(answer, dict) and answer.pop("number", None) == self.number
        if not expected or "spoiled" not in answer or self._read:
            raise ValueError("an answer to nothing that was asked")
        return answer

    def close(self) -> None:
        self.channel.close()
        if self.handle is not None:
            os.close(self.handle)


class Pool:
    """`jobs` workers that know `catalog`; what they and their cells print goes to the file `log`.

    `train` says that training runs are among the cells: what they need is then imported beforehand.
    With a `peer` the workers have its packages before all others, and its modules imported.
    Use it as a context manager: leaving it, by an exception too, kills every process at once.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        jobs: int,
        log: Path,
        train: bool = True,
        peer: Peer | None = None,
    ):
        if not hasattr(os, "fork"):
            raise UserError("running needs a POSIX system; on Windows, use its Linux subsystem.")
        self.jobs, self.log = jobs, log
        self.replaced = 0  # workers that a cell had spoiled
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._start = {
            "path": peers.path(peer) if peer else sys.path,
            "imports": list(peer.imports) if peer else [],
            "parent": os.getpid(),
            "specimens": _given({s.path for s in catalog.specimens.values()}),
            "detectors": _given({d.path for d in catalog.detectors.values()}),
            "mutants": sorted(i for i, s in catalog.specimens.items() if s.group == "mutants"),
            "train": train,
        }
        self._nursery = Nursery(self._start, log)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            _kill(worker.pid)
        self._nursery.close()  # whose end kills a worker that was just being forked
        for worker in self._workers:
            worker.close()
        self._selector.close()

    def run(self, cells: Iterable[Cell], timeout: float) -> Iterator[tuple[Cell, Answer]]:
        """Every cell once with its answer, as they come in; `timeout` is in seconds for each cell."""
        doubtful = []
        for cell, answer in self._answers(deque(cells), timeout, self.jobs):
            if answer.get("outcome") == "crash":
                doubtful.append(cell)
            else:
                yield cell, answer
        for cell in doubtful:
            while self._workers:
                self._dismiss(self._workers[-1])
            yield from self._answers(deque([cell]), timeout, jobs=1)

    def _answers(
        self, queue: deque[Cell], timeout: float, jobs: int
    ) -> Iterator[tuple[Cell, Answer]]:
        while queue or any(w.cell for w in self._workers):
            while queue and (worker := self._idle(jobs)):
                worker.give(queue.popleft(), timeout)
            for worker in self._stirred():
                cell, answer = worker.cell, self._hear(worker)
                if cell is not None and answer is not None:
                    yield cell, answer

    def _idle(self, jobs: int) -> _Worker | None:
        for worker in self._workers:
            if worker.cell is None and not worker.dead:
                return worker
        return self._fork() if len(self._workers) < jobs else None

    def _stirred(self) -> list[_Worker]:
        """Wait until something happens; the workers that spoke, died or are late."""
        deadlines = [w.deadline for w in self._workers if w.cell]
        wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else 0.0
        stirred = []
        for key, _ in self._selector.select(wait):
            worker = key.data
            worker.dead |= key.fileobj == worker.handle
            stirred.append(worker)
        now = time.monotonic()
        stirred += [w for w in self._workers if w.cell and w.deadline <= now]
        return list(dict.fromkeys(stirred))

    def _hear(self, worker: _Worker) -> Answer | None:
        """The answer of the worker, or of its fate; None while there is nothing to say."""
        spent = time.monotonic() - worker.since
        try:
            answer = worker.answer()
        except ValueError as error:
            self._dismiss(worker)
            return _failed("crash", f"the worker wrote {error}", spent)
        if answer is not None:
            worker.cell = None
            if answer.pop("spoiled"):
                self.replaced += 1
                self._dismiss(worker)
            return answer
        if worker.shut:
            if worker.handle is None:
                worker.dead = True
            else:  # it closed its end and may still run; the handle tells when it dies
                with suppress(KeyError):
                    self._selector.unregister(worker.channel)
        if worker.dead:
            return _failed("crash", f"the worker died: {self._dismiss(worker)}", spent)
        if worker.cell and time.monotonic() >= worker.deadline:
            self._dismiss(worker)
            limit = worker.deadline - worker.since
            return _failed("timeout", f"no answer within {limit:g} s", spent)
        return None

    def _fork(self) -> _Worker:
        while True:
            ours, theirs = socket.socketpair()
            with theirs:
                pid = self._nursery.ask(FORK, theirs)
            if pid is not None:
                worker = _Worker(pid, ours, self._nursery)
                self._workers.append(worker)
                self._selector.register(worker.channel, selectors.EVENT_READ, worker)
                if worker.handle is not None:
                    self._selector.register(worker.handle, selectors.EVENT_READ, worker)
                return worker
            ours.close()
            self._nursery.close()
            if not self._nursery.ready:
                raise UserError(f"no worker can be started; the end of {self.log} says why.")
            self._nursery = Nursery(self._start, self.log)  # a cell has killed the other

    def _dismiss(self, worker: _Worker) -> str:
        """Kill the worker and all that it started; how it had ended, in words."""
        self._workers.remove(worker)
        _kill(worker.pid)
        status = worker.nursery.ask(worker.pid)
        for fileobj in (worker.channel, worker.handle):
            with suppress(KeyError, ValueError):
                self._selector.unregister(fileobj)  # type: ignore[arg-type]
        worker.close()
        return _ending(status)


def _given(paths: set[str]) -> list[str]:
    """Those of the files that a bare catalog does not hold."""
    root = Path(__file__).parents[2]
    own = (root / "bugzoo" / "specimens", root / "detectors")
    return sorted(
        os.path.abspath(p) for p in paths if not any(Path(p).is_relative_to(o) for o in own)
    )


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _failed(outcome: str, because: str, seconds: float) -> Answer:
    return {
        "outcome": outcome,
        "score": math.nan,
        "because": because,
        "where": "",
        "seconds": seconds,
        "forwards": 0,
        "backwards": 0,
    }


def _ending(status: int | None) -> str:
    if status is None:
        return "its nursery was gone"
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.waitstatus_to_exitcode(status)}"
