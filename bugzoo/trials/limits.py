"""What a cell may use, and what it must leave as it found it.

Linux has all of it; elsewhere the memory limit, the death with the parent and the counting of open
files are left out, and the rest works.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY = 2 << 30  # bytes that one cell may take beyond what its worker holds
SLACK = 256 << 20  # bytes that a worker may have gained before it is replaced


@contextmanager
def limited(budget: int = MEMORY) -> Iterator[None]:
    """At most `budget` more bytes of private memory inside: then MemoryError, or RuntimeError of torch.

    RLIMIT_DATA, as RLIMIT_AS counts the address space of thread stacks too. Shared mappings escape.
    """
    held = private_bytes()
    if not held or resource is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = held + budget if hard == resource.RLIM_INFINITY else min(held + budget, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def private_bytes() -> int:
    """Private writable memory of this process, or 0 where it cannot be known."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError, ValueError):
        return 0


def surroundings() -> dict[str, Any]:
    """All that the next cell in this process would notice, and that is cheap to look at (50 us)."""
    folder = os.stat(".")
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "torch threads": torch.get_num_threads(),
        "grad mode": torch.is_grad_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch functions": (
            torch.autograd.grad,
            torch.autograd.backward,
            torch.Tensor.backward,
            torch.nn.Module.__call__,
            torch.autograd.Function.__dict__["apply"],
        ),
        "NumPy errors": np.geterr(),
        "working folder": (folder.st_dev, folder.st_ino),
        "recursion limit": sys.getrecursionlimit(),
        "output streams": (sys.stdout, sys.stderr),
        "alarm": signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0),
        "threads": threading.active_count(),
        "child processes": _has_children(),
        "open files": _open_files(),
    }


def spoiled(before: dict[str, Any]) -> str:
    """What differs from `before`, in words; '' when nothing does."""
    now = surroundings()
    return ", ".join(name for name in before if now[name] != before[name])


def put_back_environment(before: Mapping[str, str]) -> None:
    """Undo changes of os.environ: many libraries set variables of their own when first imported."""
    if dict(os.environ) != before:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent, `parent`, ends in whatever way."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (AttributeError, OSError):
        return
    if os.getppid() != parent:
        os._exit(1)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    except (AttributeError, ChildProcessError):
        return False


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
