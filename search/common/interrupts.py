"""Ctrl-C where it must wait, and where Python would lose it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM] + [
    getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name)
]


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """What asks this process to stop, as it comes; the second one stops it wherever it is."""
    came: list[int] = []

    def on_signal(received: int, _frame: object) -> None:
        came.append(received)
        if len(came) > 1:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        if number == signal.SIGINT or before[number] != signal.SIG_IGN:  # which nohup asks for
            signal.signal(number, on_signal)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Finish what is begun within before Ctrl-C ends the command: nothing is left half made.

    Raises:
        KeyboardInterrupt: Afterwards, if Ctrl-C came meanwhile.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda received, _frame: came.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def end_if_interrupted(error: sys.UnraisableHookArgs) -> None:
    """End at Ctrl-C where Python can raise nothing, as in a callback of an import.

    Set as ``sys.unraisablehook``; Python's own would print a traceback and go on.
    """
    if error.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(error)
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
