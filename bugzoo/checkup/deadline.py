"""A time limit that holds while the function under examination does not return."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Late(BaseException):
    """The time is over. No Exception, so that no handler in the user's code keeps it."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raises Late inside the block after `seconds`; does nothing outside the main thread.

    Python code is interrupted between two instructions; a call into native code is not.
    """
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def stop(*_: Any) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
