"""A time limit within the process: code that loops for ever is ended by an exception.

No fork and no thread: torch has started threads of its own, and a forked child may hang in them.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WALL = 20  # times the limit: for code that waits and uses no processor
AGAIN = 0.05  # seconds: an exception that was swallowed, in a destructor say, comes again
TIMERS = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}


class Overdue(BaseException):
    """The time is up. No Exception, so that no `except Exception` on the way takes it for its own."""


@contextmanager
def deadline(seconds: float, wall: float = 0.0) -> Iterator[None]:
    """Raise Overdue in the block after `seconds` of processor time, which other processes do not use up.

    Code that waits is ended after `wall` seconds, WALL times the limit by default.

    Only in the main thread of a process, and between two bytecodes: a single call into C that never
    returns is not ended.
    """

    over = False
    begun = time.process_time()

    def ring(signum: int, frame: FrameType | None) -> None:
        if over:  # it rang while the timers were being stopped
            return
        if wall and time.process_time() - begun < 0.25 * seconds:
            raise Overdue(f"not done after {wall:.3g} seconds: does it wait for something?")
        if wall and signum == signal.SIGALRM:
            raise Overdue(f"not done after {wall:.3g} seconds")
        raise Overdue(f"not done after {seconds:.3g} seconds of processor time")

    before = {timer: signal.getitimer(timer) for timer in TIMERS}
    handlers = {number: signal.signal(number, ring) for number in TIMERS.values()}
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
        signal.setitimer(signal.ITIMER_REAL, wall or WALL * seconds, AGAIN)
        yield
    finally:
        over = True
        for timer in TIMERS:
            signal.setitimer(timer, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for timer, (delay, interval) in before.items():
            signal.setitimer(timer, delay, interval)
