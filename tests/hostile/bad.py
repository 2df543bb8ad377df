"""Detectors that do what a worker must survive, each in its own way."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import torch

from bugzoo import Verdict, detector

CLEAR = Verdict("clear", 0.0)
HELD = []
bad = detector(needs="source", cost="none", blind_to="everything")


@bad
def hangs(subject, gen):
    """For ever."""
    while True:
        time.sleep(60)


@bad
def spins_deaf(subject, gen):
    """For ever, deaf to polite signals."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


@bad
def exits(subject, gen):
    """Without a word."""
    os._exit(0)


@bad
def segfaults(subject, gen):
    """Reads address 0."""
    ctypes.string_at(0)


@bad
def aborts(subject, gen):
    """As the C++ library does on an exception that nobody catches."""
    os.abort()


@bad
def dies_late(subject, gen):
    """Answers well, then a thread of its own takes the next cell down."""
    threading.Timer(0.05, os._exit, (7,)).start()
    return CLEAR


@bad
def raises(subject, gen):
    """An exception that cannot be pickled, and whose text raises."""

    class Odd(Exception):
        def __init__(self, a, b):
            self.lock = threading.Lock()

        def __str__(self):
            raise ValueError("no text")

    raise Odd(1, 2)


@bad
def raises_base(subject, gen):
    """BaseException itself."""
    raise BaseException("base")


@bad
def quits(subject, gen):
    """SystemExit."""
    sys.exit("quitting")


@bad
def interrupts(subject, gen):
    """KeyboardInterrupt."""
    raise KeyboardInterrupt


@bad
def shouts(subject, gen):
    """Megabytes on both streams."""
    for _ in range(64):
        print("x" * (1 << 16))
        print("y" * (1 << 16), file=sys.stderr)
    return CLEAR


@bad
def long_winded(subject, gen):
    """Megabytes in the reason, some of it no text at all."""
    return Verdict("clear", 0.0, "\ud800\0" * (1 << 20), "\udfff")


@bad
def leaks(subject, gen):
    """Fills the memory with small blocks, and keeps them."""
    while True:
        HELD.append(np.empty(1 << 23))


@bad
def leaks_torch(subject, gen):
    """Asks torch for more than there is."""
    HELD.append(torch.ones(1 << 36, dtype=torch.float64))
    return CLEAR


@bad
def hoards(subject, gen):
    """Answers well and keeps 300 MB: the next cells must not pay for it."""
    HELD.append(np.empty(300 << 17))
    return CLEAR


@bad
def more_threads(subject, gen):
    """Changes the number of torch's threads."""
    torch.set_num_threads(3)
    return CLEAR


@bad
def leaves_a_thread(subject, gen):
    """A thread of its own goes on sleeping."""
    threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
    return CLEAR


@bad
def leaves_a_child(subject, gen):
    """A child goes on sleeping, and holds whatever it inherited."""
    subprocess.Popen(["sleep", "301"], close_fds=False)
    return CLEAR


@bad
def forks_and_hangs(subject, gen):
    """A fork of the worker goes on, and so does the worker."""
    os.fork()
    while True:
        time.sleep(60)


@bad
def not_a_verdict(subject, gen):
    """A number."""
    return 1.0


@bad
def odd_outcome(subject, gen):
    """An outcome that there is not."""
    return Verdict("broken", 1.0)


@bad
def nan_score(subject, gen):
    """A score that nothing can be compared with."""
    return Verdict("alarm", float("nan"))


@bad
def tensor_score(subject, gen):
    """A score of three numbers."""
    return Verdict("alarm", torch.ones(3))


@bad
def closes_files(subject, gen):
    """All of them, its way to the parent too."""
    os.closerange(0, 256)
    return CLEAR


@bad
def writes_everywhere(subject, gen):
    """Half a line of junk into every open file."""
    for number in range(256):
        with suppress(OSError):
            os.write(number, b"\xff\x00{junk")
    return CLEAR


@bad
def forges(subject, gen):
    """Whole lines of junk into every open file."""
    for number in range(3, 256):
        with suppress(OSError):
            os.write(number, b'{"number": 0, "outcome": "clear"}\n[]\n' * 3)
    return CLEAR


@bad
def opens_files(subject, gen):
    """A few hundred, and leaves them open."""
    HELD.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(200))
    return CLEAR


@bad
def moves(subject, gen):
    """To another folder."""
    os.chdir("/")
    return CLEAR


@bad
def taints(subject, gen):
    """Default dtype, grad mode, NumPy's errors, the environment, the global random states."""
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
    np.seterr(divide="raise")
    os.environ["TAINTED"] = "1"
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    return CLEAR


@bad
def patches(subject, gen):
    """Replaces a function of torch for everyone after it."""
    torch.autograd.grad = lambda *_, **__: (torch.zeros(()),)
    return CLEAR


@bad
def sets_an_alarm(subject, gen):
    """That rings in the next cell."""
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    return CLEAR


@bad
def times_its_worker(subject, gen):
    """With a timer that nobody looks at: the worker dies after 50 ms more of work."""
    signal.setitimer(signal.ITIMER_PROF, 0.05)
    return CLEAR


@bad
def kills_its_parent(subject, gen):
    """The process that it was forked from."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


@bad
def recurses(subject, gen):
    """Until Python says no."""

    def deeper():
        return deeper()

    return deeper()
