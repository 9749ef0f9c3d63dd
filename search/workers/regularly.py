"""Does something again and again, but not too often."""

from __future__ import annotations

import time
from collections.abc import Callable


class Regularly:
    """Does something when it is called, but not more often than every so many seconds.

    Args:
        seconds: Between two times.
        action: Done.
        share: Of the time that may go there at most: what takes long is done less often.
    """

    def __init__(self, seconds: float, action: Callable[[], None], share: float = 1.0) -> None:
        self._seconds, self._action, self._share = seconds, action, share
        self._next = _now()

    def __call__(self) -> None:
        """Do it, if it is time."""
        begun = _now()
        if begun < self._next:
            return
        self._action()
        now = _now()
        self._next = now + max(self._seconds, (now - begun) * (1 / self._share - 1))


def _now() -> float:
    """Seconds, those included in which this machine slept, where the system counts them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
