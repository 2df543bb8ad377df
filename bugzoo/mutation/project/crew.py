"""The command line's side: starts the warm process, keeps its forks busy, hears the answers."""

import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bugzoo.errors import UserError
from bugzoo.mutation.project.target import Target

Message = dict[str, Any]
ONE = {
    f"{name}_NUM_THREADS": "1"
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "RAYON", "POLARS_MAX")
}
START = "from bugzoo.mutation.project import server; server.main()"
NAMES = ("tests", "probes")


class Crew:
    """`jobs` forks at a time. Use as a context: nothing that it started outlives it."""

    def __init__(
        self,
        target: Target,
        *,
        pytest: list[str] | None,
        path: list[str],
        inputs: str,
        detectors: list[str],
        jobs: int,
    ):
        self.jobs = jobs
        self.folder = Path(tempfile.mkdtemp(prefix="bugzoo-mutate-"))
        self.log = self.folder / "log.txt"
        pairs = {name: socket.socketpair() for name in NAMES}
        self.channels = {name: ours for name, (ours, _) in pairs.items()}
        theirs = {name: given for name, (_, given) in pairs.items()}
        self._read = dict.fromkeys(NAMES, b"")
        config = {
            "target": asdict(target) | {"path": str(target.path)},
            "pytest": pytest,
            "path": path,
            "inputs": inputs,
            "detectors": detectors,
            **{name: given.fileno() for name, given in theirs.items()},
        }
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, json.dumps(config)],
                env=os.environ | ONE | self._surroundings(path),
                pass_fds=[given.fileno() for given in theirs.values()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the command line alone
            )
        for given in theirs.values():
            given.close()

    def _surroundings(self, path: list[str]) -> dict[str, str]:
        """No graphics card, whose driver does not survive a fork; temporary files where we clean up."""
        return {
            "CUDA_VISIBLE_DEVICES": "",
            "PYTEST_DEBUG_TEMPROOT": str(self.folder),
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self.channels.values():
            channel.close()  # which ends the servers, and they their forks
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def hear(self, name: str) -> Message:
        """The next message of the server `name`. UserError where it is a mistake, or the end."""
        while b"\n" not in self._read[name]:
            chunk = self.channels[name].recv(1 << 16)
            if not chunk:
                raise UserError(self._last_words(name))
            self._read[name] += chunk
        line, _, self._read[name] = self._read[name].partition(b"\n")
        message = json.loads(line)
        if "mistake" in message:
            raise UserError(message["mistake"])
        return message

    def _last_words(self, name: str) -> str:
        """Why the process has ended: the mistake that it told through another channel, or its log."""
        for other in NAMES:
            while other != name and (chunk := self.channels[other].recv(1 << 16)):
                self._read[other] += chunk
            for line in self._read[other].splitlines():
                message = json.loads(line)
                if "mistake" in message:
                    return message["mistake"]
        return f"the process that runs the code has ended:\n{self._tail()}"

    def answers(self, name: str, jobs: Iterable[Message]) -> Iterator[tuple[Message, Message]]:
        """Every job once with its answer, as they come in. A job needs `limit`, in seconds."""
        for _, job, answer in self.both({name: deque(jobs)}):
            yield job, answer

    def both(self, queues: dict[str, deque[Message]]) -> Iterator[tuple[str, Message, Message]]:
        """The jobs of several servers, `self.jobs` at a time over all of them."""
        running: dict[tuple[str, int], Message] = {}
        number = 0
        with selectors.DefaultSelector() as selector:
            for name in queues:
                selector.register(self.channels[name], selectors.EVENT_READ, name)
            while running or any(queues.values()):
                while len(running) < self.jobs and (name := self._next(queues)):
                    job = queues[name].popleft()
                    number += 1
                    running[name, number] = job
                    line = json.dumps({**job, "job": number}).encode() + b"\n"
                    self.channels[name].sendall(line)
                stirred = [key.data for key, _ in selector.select()]
                for name in stirred:
                    answer = self.hear(name)
                    while True:
                        job = running.pop((name, answer.pop("job")))
                        yield name, job, answer
                        if b"\n" not in self._read[name]:
                            break
                        answer = self.hear(name)

    def early(self, name: str, modules: list[str]) -> None:
        """Have a server import these before it forks again."""
        self.channels[name].sendall(json.dumps({"early": modules}).encode() + b"\n")

    @staticmethod
    def _next(queues: dict[str, deque[Message]]) -> str:
        return next((name for name, queue in queues.items() if queue), "")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-2:])
