"""A warm process that never runs what it is asked: it forks, and the fork does.

The process has one thread, as nothing but imports has happened in it with all thread pools set to one;
a fork of it is therefore whole. Each fork has a limit and is killed with all that it started.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bugzoo.trials.limits import die_with

Message = dict[str, Any]
PAUSE = 0.05  # seconds between looks at forks that may have died without a word


def threads() -> int:
    """Threads of this process, as the system counts them; 1 where it does not say."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def say(channel: socket.socket, message: Message) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


class Forks:
    """Serves the jobs that come through a socket, each in a fork, until the socket is closed."""

    def __init__(self, channel: socket.socket, work: Callable[[Message], Message]):
        self.channel, self.work = channel, work
        self._read = b""
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, tuple[Message, int, float, bytearray]] = {}
        self._ended: set[int] = set()  # killed, and not yet gone: that takes the system a while

    def serve(self) -> None:
        gc.freeze()  # a collection in a fork would copy every page of torch
        self.channel.setblocking(True)
        self._selector.register(self.channel, selectors.EVENT_READ)
        while self._step():
            pass
        for pid in list(self._running):
            _kill(pid)

    def _step(self) -> bool:
        for key, _ in self._selector.select(PAUSE if self._running else None):
            if key.fileobj is self.channel:
                chunk = self.channel.recv(1 << 16)
                if not chunk:
                    return False
                self._read += chunk
            else:
                self._running[key.data][3].extend(os.read(key.fd, 1 << 16))
        while b"\n" in self._read:
            line, _, self._read = self._read.partition(b"\n")
            job = json.loads(line)
            if "early" in job:
                import_early(job["early"])
            else:
                self._fork(job)
        for pid in list(self._running):
            self._look(pid)
        self._ended -= {pid for pid in self._ended if os.waitpid(pid, os.WNOHANG)[0]}
        return True

    def _fork(self, job: Message) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        started = time.monotonic()
        pid = os.fork()
        if not pid:
            self._run(job, writing, parent)
        os.close(writing)
        self._running[pid] = (job, reading, started, bytearray())
        self._selector.register(reading, selectors.EVENT_READ, pid)

    def _run(self, job: Message, writing: int, parent: int) -> None:
        try:
            os.setsid()  # so that whatever the work starts can be killed with it
            die_with(parent)
            self.channel.close()
            answer = json.dumps(self.work(job)).encode() + b"\n"
            while answer:
                answer = answer[os.write(writing, answer) :]
        finally:
            os._exit(1)

    def _look(self, pid: int) -> None:
        """Has this fork answered, died, or run out of time? Then tell."""
        job, reading, started, heard = self._running[pid]
        spent = time.monotonic() - started
        if heard.endswith(b"\n"):
            answer = json.loads(heard)
            _kill(pid)
            self._ended.add(pid)
        elif (ended := os.waitpid(pid, os.WNOHANG))[0]:
            answer = {"crash": _ending(ended[1])}
            with suppress(OSError):  # it may have answered with its last breath
                heard.extend(os.read(reading, 1 << 22) if not heard.endswith(b"\n") else b"")
            if heard.endswith(b"\n"):
                answer = json.loads(heard)
        elif spent > job["limit"]:
            _kill(pid)
            self._ended.add(pid)
            answer = {"timeout": f"no end after {job['limit']:.1f} s"}
        else:
            return
        self._selector.unregister(reading)
        os.close(reading)
        del self._running[pid]
        say(self.channel, {**answer, "job": job["job"], "seconds": round(spent, 4)})


def import_early(names: list[str]) -> None:
    """What the work will import late: once here, not in every fork. It must not start threads."""
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)
    gc.freeze()


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"it left with exit code {os.waitstatus_to_exitcode(status)}"
