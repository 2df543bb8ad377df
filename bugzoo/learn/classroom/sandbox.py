"""Runs a submission in a process of its own, and ends all that it started.

A time limit on the wall and on the processor, 3 GB, output into a file of 64 MB at most. What comes
back is read as plain tensors, never unpickled. Whatever the process does, the answer is a dictionary.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import torch

SECONDS, MEMORY, LONGEST = 20, 3 << 30, 256 << 20
START = 60  # seconds more for importing torch on a busy machine
TOKEN = "BUGZOO_SANDBOX"
_NUMBERS = count()


def run(job: dict[str, Any], seconds: int = SECONDS, memory: int = MEMORY) -> dict[str, Any]:
    """What the child measured, or {"error": why there is nothing}."""
    token = f"{os.getpid()}-{uuid.uuid4().hex}"
    folder = Path(tempfile.mkdtemp(prefix="bugzoo-grade-"))
    uid = 61000 + next(_NUMBERS) % 1000
    alone = hasattr(os, "geteuid") and os.geteuid() == 0
    try:
        torch.save(job, folder / "job.pt")
        if alone:
            os.chown(folder, uid, uid)
            os.chmod(folder, 0o700)
        told: dict[str, Any] = {
            "path": [str(Path(__file__).parents[3]), *filter(None, sys.path)],
            "seconds": seconds,
            "memory": memory,
            "uid": uid,
            "alone": alone,
            "processes": _processes(),
        }
        return _wait(_spawn(folder, told, token), folder, seconds, token, uid if alone else None)
    finally:
        sweep(token, uid if alone else None)
        shutil.rmtree(folder, ignore_errors=True)


def _spawn(folder: Path, told: dict[str, Any], token: str) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        TOKEN: token,
    }
    with open(folder / "output", "wb") as out:
        return subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("child.py")), json.dumps(told)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait(
    process: subprocess.Popen[bytes], folder: Path, seconds: int, token: str, uid: int | None
) -> dict[str, Any]:
    begun, late = time.monotonic(), False
    cpu_since: float | None = None
    while process.poll() is None:
        time.sleep(0.05)
        now = time.monotonic()
        # the clock of the submission starts when the child has read its job and dropped its rights
        if cpu_since is None and (uid is None or _owner(process.pid) == uid):
            cpu_since = now
        started = cpu_since is not None and uid is not None
        if now - begun > seconds + START or (started and now - cpu_since > 2 * seconds):  # type: ignore[operator]
            late = True
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    sweep(token, uid)
    if late or code in (-signal.SIGXCPU, -signal.SIGKILL):
        return {
            "error": f"it was not done after {seconds} s, or took too much memory",
            "late": True,
        }
    result = folder / "result.pt"
    try:
        if result.is_symlink() or not result.is_file() or result.stat().st_size > LONGEST:
            return {"error": f"the program ended before it was checked ({_ending(code)})"}
        found = torch.load(result, weights_only=True)
    except Exception as error:
        return {"error": f"what it left cannot be read ({type(error).__name__})"}
    return found if isinstance(found, dict) else {"error": "what it left is no result"}


def _ending(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def _processes() -> int:
    try:
        return len([n for n in os.listdir("/proc") if n.isdecimal()])
    except OSError:
        return 256


def sweep(token: str, uid: int | None) -> None:
    """Kill every process that carries the token or belongs to the sandbox's user, until none is left."""
    for _ in range(50):
        found = [pid for pid in _pids() if pid != os.getpid() and _ours(pid, token, uid)]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _pids() -> list[int]:
    try:
        return [int(n) for n in os.listdir("/proc") if n.isdecimal()]
    except OSError:
        return []


def _ours(pid: int, token: str, uid: int | None) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] == b"Z":
                return False
        if uid is not None:
            return os.stat(f"/proc/{pid}").st_uid == uid
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{TOKEN}={token}".encode() in file.read().split(b"\0")
    except OSError:
        return False
