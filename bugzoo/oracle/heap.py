"""Live bytes of this process, exactly as the C library counts them (glibc's mallinfo2).

It sees tensors, saved tensors and graph nodes alike, on the C++ side too, and needs no hook: a
hook on saved tensors would switch off the very checks of autograd that are under test.
"""

import ctypes
import gc
from collections.abc import Callable
from functools import lru_cache

WARM, COUNTED = 4, 12  # calls before the count, calls counted
_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS.split()]


@lru_cache(maxsize=1)
def _mallinfo() -> Callable[[], _Mallinfo] | None:
    try:
        call = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    call.restype = _Mallinfo
    return call


def supported() -> bool:
    """False where the C library has no mallinfo2 (not glibc, or before 2.33)."""
    return _mallinfo() is not None


def live_bytes() -> int:
    """Bytes in use on the C heap, mapped blocks included, after a garbage collection."""
    call = _mallinfo()
    assert call is not None, "this C library has no mallinfo2"
    gc.collect()
    info = call()
    return info.uordblks + info.hblkhd


def growth(step: Callable[[], object]) -> float:
    """Bytes that each call of `step` leaves alive: the lower quartile over the calls counted.

    A leak grows at every call; caches, dictionaries and logs grow now and then.
    """
    for _ in range(WARM):
        step()
    gc.freeze()  # what is alive already need not be searched again: 100 times faster
    try:
        levels = [live_bytes()]
        for _ in range(COUNTED):
            step()
            levels.append(live_bytes())
    finally:
        gc.unfreeze()
    gains = sorted(after - before for before, after in zip(levels, levels[1:], strict=False))
    return float(gains[len(gains) // 4])
