"""The processes behind the pool: a nursery that has everything imported, and the workers it forks.

A fork is ready in 20 ms where a new Python needs two seconds, so a worker that a cell has spoiled
is simply replaced. The nursery never runs a cell: what it forks is always fresh.
"""

import faulthandler
import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from importlib import import_module

import torch

from bugzoo import catalog as catalogs
from bugzoo import digits
from bugzoo.catalog import Catalog
from bugzoo.trials.cell import Cell, run
from bugzoo.trials.limits import (
    SLACK,
    die_with,
    private_bytes,
    put_back_environment,
    spoiled,
    surroundings,
)

NUMBER = struct.Struct("q")
FORK = 0  # the one request that is not a process id
LONGEST_LOG = 16 << 20  # bytes


def main(
    parent: int,
    channel: int,
    specimens: list[str],
    detectors: list[str],
    mutants: list[str],
    train: bool,
    imports: list[str],
) -> None:
    """Load the catalog, then serve the parent through the socket `channel` until it is gone.

    Requests are numbers: FORK, with the socket of the new worker, is answered by its process id;
    a process id by the exit status of that worker, once it has ended.
    """
    die_with(parent)
    torch.set_num_threads(1)
    found = catalogs.load(specimens, detectors)
    if mutants:
        import_module("bugzoo.mutation.frozen").add(found, mutants)
    import_module("torch.fx.experimental.symbolic_shapes")  # the first backward would, in 0.4 s
    if train:
        digits.load()
        import_module("torch._dynamo")  # the first optimizer would, in 1 s
    _import(imports)
    with socket.socket(fileno=channel) as line:
        line.sendall(NUMBER.pack(FORK))  # ready
        while True:
            request, passed, _, _ = socket.recv_fds(line, NUMBER.size, 1)
            if len(request) < NUMBER.size:
                return
            (pid,) = NUMBER.unpack(request)
            reply = _fork(line, passed[0], found) if pid == FORK else os.waitpid(pid, 0)[1]
            line.sendall(NUMBER.pack(reply))


def _import(names: list[str]) -> None:
    """Import modules of a peer; what they set for everybody on import is put back."""
    dtype, state, environment = torch.get_default_dtype(), torch.get_rng_state(), dict(os.environ)
    for name in names:
        import_module(name)
    torch.set_default_dtype(dtype)
    torch.set_rng_state(state)
    torch.set_num_threads(1)
    put_back_environment(environment)


def _fork(line: socket.socket, handed: int, catalog: Catalog) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(handed)
        return pid
    try:
        line.close()
        os.setsid()  # so that whatever the cells start can be killed with the worker
        die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        faulthandler.enable()
        with socket.socket(fileno=handed) as own:
            serve(own, catalog)
    finally:
        os._exit(1)


def serve(channel: socket.socket, catalog: Catalog) -> None:
    """Answer one cell after another; say with each answer whether the next cell would notice."""
    fresh, held, environment = surroundings(), private_bytes(), dict(os.environ)
    for line in channel.makefile("rb"):
        number, *fields = json.loads(line)
        answer = run(catalog, cell := Cell(*fields))
        put_back_environment(environment)
        changed = spoiled(fresh) or ("memory" if private_bytes() > held + SLACK else "")
        if changed:
            os.write(2, f"a worker ends, as {cell} changed: {changed}\n".encode("utf-8", "replace"))
        told = json.dumps({**answer, "number": number, "spoiled": bool(changed)})
        channel.sendall(told.encode() + b"\n")
        _trim_log()


def _trim_log() -> None:
    with suppress(OSError):
        if os.fstat(sys.__stderr__.fileno()).st_size > LONGEST_LOG:  # type: ignore[union-attr]
            os.ftruncate(2, 0)
