"""What a learner's program prints while it is checked: each line once, with a count, and not all of them.

A backward runs in dozens of passes; its prints would push the report off the screen. Nothing can be
typed into it either: `input()` and `breakpoint()` raise at once, where they would wait for ever.
"""

import io
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

MOST = 8  # different lines that are shown
ROWS = 3  # of the screen for one of them
KEPT = 500  # different lines that are counted


class Heard(io.TextIOBase):
    """Takes what is printed; `lines` tells it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.total = 0
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._rest = (self._rest + text).split("\n")
        self._rest = self._rest[-10_000:]
        for line in whole:
            self._take(line)
        return len(text)

    def _take(self, line: str) -> None:
        if line.strip():
            self.total += 1
            if line in self.counts or len(self.counts) < KEPT:
                self.counts[line] += 1

    def lines(self) -> list[str]:
        """For the screen: the first lines that differ, in the order in which they came."""
        from bugzoo.learn.screen import wrapped

        self.write("\n")
        if not self.total:
            return []
        many = f"{self.total} lines" if self.total > 1 else "one line"
        found = [f" Your program printed {many}, over all passes of this check:"]
        for line in list(self.counts)[:MOST]:
            times = f"   ({self.counts[line]} times)" if self.counts[line] > 1 else ""
            shown = "".join(c if c.isprintable() else "?" for c in line.expandtabs(4))
            found += wrapped(shown + times, "   ", "     ")[:ROWS]
        if len(self.counts) > MOST:
            found.append(
                f"   ... and {len(self.counts) - MOST} other lines"
                + "+" * (len(self.counts) == KEPT)
            )
        return found


@contextmanager
def listening() -> Iterator[Heard]:
    """Within the block prints are heard, and nothing can be typed in."""
    heard, stdin, hook = Heard(), sys.stdin, sys.breakpointhook
    sys.stdin, sys.breakpointhook = io.StringIO(), _refused
    try:
        with redirect_stdout(heard), redirect_stderr(heard):
            yield heard
    finally:
        sys.stdin, sys.breakpointhook = stdin, hook


def _refused(*_: Any, **__: Any) -> None:
    raise RuntimeError("breakpoint() cannot stop a check: print instead, each line is shown once")
