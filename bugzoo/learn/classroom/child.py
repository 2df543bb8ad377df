"""The process in which one submission runs: it measures and knows no truth.

The parent has drawn all inputs. What is sent back are tensors, which the parent compares; for a
check, a mark for each program, of which this process does not know which are broken.

Before the submission's first line: limits of memory, time, files and processes; another user, if
this one is root; no network, where the kernel allows; a hook that refuses to fork, to kill, to
write outside the own folder, to connect. The hook stops what Python does, not what C does.
"""

import ast
import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FILES, PROCESSES, LONGEST = 256, 64, 64 << 20
REFUSED = (
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen",
    "os.kill", "os.killpg", "signal.pthread_kill", "socket.connect", "socket.bind", "ctypes.dlopen",
    "os.setxattr", "os.chown", "os.chmod", "os.link", "os.symlink", "pty.spawn", "sys.addaudithook",
)  # fmt: skip
WRITES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.truncate",
    "shutil.rmtree",
    "shutil.move",
)


def main() -> None:
    """Read job.pt in the working folder, run it, write result.pt."""
    told = json.loads(sys.argv[1])
    sys.path[:] = told["path"]
    import torch

    from bugzoo.learn import measure, trying

    torch.set_num_threads(1)
    job = torch.load("job.pt", weights_only=True)
    _warm(torch, job)
    before = _fingerprint(torch, measure, trying)
    _settle(told)
    try:
        found = _RUN[job["mode"]](job, measure, trying)
    except BaseException as error:  # SystemExit too
        found = {"error": measure.words(error), "line": measure.line_of(error, job["file"])}
    if _fingerprint(torch, measure, trying) != before:
        found = {"error": "the program changes torch or the checker; that is not scored", "line": 0}
    torch.save(found, "result.part")
    os.rename("result.part", "result.pt")
    sys.stdout.flush()
    os._exit(0)  # whatever threads and exit handlers there are


def _warm(torch: Any, job: dict[str, Any]) -> None:
    """What torch imports at its first use, before the limits and the change of user."""

    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:  # type: ignore[override]
            return g * 1

    x = torch.zeros(2, requires_grad=True)
    torch.autograd.grad(Probe.apply(x), x, torch.ones(2), retain_graph=True)
    __import__("torch.fx.experimental.symbolic_shapes")
    _imports(job["text"])
    if job["mode"] == "loop":
        from bugzoo import digits, loop

        digits.load()
        made = loop.Loop(torch.Generator().manual_seed(0))
        made.optimizer.step()


def _imports(text: str) -> None:
    """What the submission imports of Python, torch and bugzoo: the other user may not be able to read it."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # told when it is run
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    for n in nodes:
        if isinstance(n, ast.ImportFrom) and n.module and not n.level:
            names += [n.module, *(f"{n.module}.{a.name}" for a in n.names)]
    known = (sys.stdlib_module_names | {"torch", "numpy", "bugzoo"}) - {
        "antigravity",
        "this",
        "idlelib",
    }
    for name in names:
        if name.partition(".")[0] in known:
            with suppress(Exception):
                importlib.import_module(name)
    for name in ("Verdict", "detector", "Loop", "Composite"):
        getattr(importlib.import_module("bugzoo"), name)


def _fix(job: dict[str, Any], measure: Any, trying: Any) -> dict[str, Any]:
    kind = _defined(job, job["name"])
    return {
        "cases": {
            name: measure.measure(kind.apply, j, job["file"]) for name, j in job["cases"].items()
        }
    }


def _loop(job: dict[str, Any], measure: Any, trying: Any) -> dict[str, Any]:
    kind = _defined(job, job["name"])
    return {
        "cases": {
            name: measure.measure_loop(kind, options, steps, seed, job["file"])
            for name, (options, steps, seed) in job["cases"].items()
        }
    }


def _detect(job: dict[str, Any], measure: Any, trying: Any) -> dict[str, Any]:
    check = _defined(job, "check")
    marks, passes = [], [0, 0]
    for text, drawn, seed in job["subjects"]:
        counted, fine, error = trying.attempt(check, text, drawn, seed)
        marks.append([bool(fine), str(error)])
        passes = [passes[0] + counted.forwards, passes[1] + counted.backwards]
    return {"marks": marks, "forwards": passes[0], "backwards": passes[1]}


_RUN: dict[str, Callable[[dict[str, Any], Any, Any], dict[str, Any]]] = {
    "fix": _fix,
    "loop": _loop,
    "detect": _detect,
}


def _defined(job: dict[str, Any], name: str) -> Any:
    import linecache

    text, file = job["text"], job["file"]
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space: dict[str, Any] = {"__name__": "exercise", "__file__": file}
    exec(compile(text, file, "exec"), space)
    if name not in space:
        raise NameError(f"the file defines no '{name}'")
    return space[name]


def _fingerprint(torch: Any, *modules: Any) -> int:
    """The functions that measuring uses, by identity; what torch keeps for itself may change."""
    holders = [torch, torch.autograd, torch.Tensor, torch.nn.Module, *modules]
    return hash(
        tuple(
            (name, id(value))
            for holder in holders
            for name, value in sorted(vars(holder).items())
            if name[:1].islower() and callable(value) and not isinstance(value, type(sys))
        )
    )


def _settle(told: dict[str, Any]) -> None:
    """Limits and guards, in an order in which each can still be set."""
    import resource

    here = str(Path.cwd())
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, signal.SIGKILL)  # die with the parent
        libc.unshare(0x40000000)  # CLONE_NEWNET; refused to most users
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    except (AttributeError, OSError):
        pass
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(told["uid"])
        os.setuid(told["uid"])
    limits = {
        "RLIMIT_CPU": told["seconds"] + 1,
        "RLIMIT_FSIZE": LONGEST,
        "RLIMIT_NOFILE": FILES,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": PROCESSES if told["alone"] else told["processes"] + PROCESSES,
    }
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            resource.setrlimit(number, (value, value))
    held = _private()
    if held:
        resource.setrlimit(resource.RLIMIT_DATA, (held + told["memory"],) * 2)
    sys.addaudithook(_hook(here))


def _hook(here: str) -> Callable[[str, Any], None]:
    inside = os.path.realpath(here)
    flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    real, refused, writes = os.path.realpath, frozenset(REFUSED), frozenset(WRITES)

    def ours(path: Any) -> bool:
        if isinstance(path, int) or path is None:
            return True
        text = path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path)
        return (real(text) + "/").startswith(inside + "/") or text == os.devnull

    def hook(event: str, args: Any) -> None:
        if event in refused:
            raise PermissionError(f"{event} is refused here")
        opened = event == "open" and _writing(args[1], args[2], flags)
        if opened and not ours(args[0]):
            raise PermissionError(f"writing {args[0]} is refused here")
        if event in writes and not all(ours(a) for a in args[:1]):
            raise PermissionError(f"{event} of {args[0]} is refused here")

    return hook


def _writing(mode: Any, flag: Any, flags: int) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return mode is None and isinstance(flag, int) and bool(flag & flags)


def _private() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError, ValueError):
        return 0


if __name__ == "__main__":
    main()
