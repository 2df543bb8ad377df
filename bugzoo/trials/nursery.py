"""The parent's end of the nursery: the process that workers are forked from (see worker.py)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from bugzoo.trials.worker import NUMBER

CODE = (
    "import json, sys; start = json.loads(sys.argv[1]); sys.path[:] = start.pop('path'); "
    "from bugzoo.trials import worker; worker.main(**start)"
)
ALONE = {  # no thread of a library beside ours, and sets in the same order in every run
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")},
    "PYTHONHASHSEED": "0",
}


class Nursery:
    """Starts at once and is ready seconds later; `start` are the arguments of `worker.main`."""

    def __init__(self, start: dict[str, Any], log: Path):
        self.ready = False
        self._line, theirs = socket.socketpair()
        told = json.dumps({**start, "channel": theirs.fileno()})
        with theirs, open(log, "ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-c", CODE, told],
                env={**os.environ, **ALONE},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the parent alone
            )

    def ask(self, request: int, passed: socket.socket | None = None) -> int | None:
        """The reply to a request of `worker.main`, or None when the nursery is gone."""
        try:
            if not self.ready:
                self.ready = len(self._line.recv(NUMBER.size)) == NUMBER.size
            sent = [] if passed is None else [passed.fileno()]
            socket.send_fds(self._line, [NUMBER.pack(request)], sent)
            reply = self._line.recv(NUMBER.size)
        except OSError:
            return None
        return NUMBER.unpack(reply)[0] if len(reply) == NUMBER.size else None

    def close(self) -> None:
        """End it; with it, by order of the kernel, every worker that still runs."""
        self._line.close()
        self._process.kill()
        self._process.wait()
