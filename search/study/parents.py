"""Which running trials have lost the process that owns them, here or on another machine.

A process of this machine can be looked for. One elsewhere gives a sign of life: a number in the
study that it counts up. No clocks are compared: it is alive while someone who looks at it again
and again sees it change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from optuna.trial import FrozenTrial, TrialState

from search.common.process_id import is_here, process_id, runs_here
from search.study.attributes import PARENT, WORKER

SIGN = "search:parent:"  # and its name: a system attribute of the study
BEAT_SECONDS = 20.0
GRACE_SECONDS = 140.0  # of silence; with a look every 20 s it is noticed within three minutes
MOST_SECONDS = 60.0  # of silence between two looks


def parent_of(trial: FrozenTrial) -> str | None:
    """The process that a running trial belongs to; None if it was never marked."""
    return PARENT.of(trial) or WORKER.of(trial)  # the second of an older version's


class SignsOfLife:
    """Gives this process's sign of life in a study, and looks for those of others.

    Where two looks lie far apart, because the one who looks had to wait for a database server for
    instance, only ``MOST_SECONDS`` of that count: nobody else could write a sign of life either.

    Args:
        name: Of this process.
        write: Sets a system attribute of the study.
        read: Gives all of them.
        clock: In seconds.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[str, int], None],
        read: Callable[[], Mapping[str, object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._write, self._read = name, write, read
        self._clock = clock
        self._looked = clock()
        self._watched = 0.0  # seconds
        self._count = 0
        self._seen: dict[str, tuple[object, float]] = {}  # by name: its sign, since when

    def beat(self) -> None:
        """Give a sign of life; every ``BEAT_SECONDS``."""
        self._count += 1
        self._write(SIGN + self._name, self._count)

    def silent(self, names: Collection[str]) -> set[str]:
        """Those of some processes elsewhere that have been silent for the grace period."""
        self._watched += min(self._clock() - self._looked, MOST_SECONDS)
        self._looked = self._clock()
        signs = self._read() if names else {}
        seen: dict[str, tuple[object, float]] = {}
        for name in names:
            sign = signs.get(SIGN + name)
            before, since = self._seen.get(name, (None, self._watched))
            changed = name not in self._seen or before != sign
            seen[name] = (sign, self._watched if changed else since)
        self._seen = seen
        return {name for name in names if self._watched - seen[name][1] >= GRACE_SECONDS}


def elsewhere(trials: Iterable[FrozenTrial]) -> set[str]:
    """The processes of other machines that own running trials."""
    parents = {parent_of(trial) for trial in trials if trial.state == TrialState.RUNNING}
    return {parent for parent in parents if parent is not None and not is_here(parent)}


def orphans(
    trials: Iterable[FrozenTrial], mine: Collection[int], silent: Collection[str] = ()
) -> list[int]:
    """Numbers of the running trials whose process is gone.

    To be asked by who holds the study's lock: a trial is marked with its process under it.

    Args:
        trials: A study's.
        mine: Numbers of those that the process that asks is at.
        silent: Processes elsewhere to be taken for dead.
    """
    found = []
    for trial in trials:
        if trial.state != TrialState.RUNNING or trial.number in mine:
            continue
        parent = parent_of(trial)
        is_elsewhere = parent is not None and not is_here(parent)
        gone = parent in silent if is_elsewhere else not _lives(parent)
        if gone:
            found.append(trial.number)
    return found


def _lives(parent: str | None) -> bool:
    """Whether a parent of this machine runs, and is not the one that asks."""
    return parent != process_id() and runs_here(parent)
