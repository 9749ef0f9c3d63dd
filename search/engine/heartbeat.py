"""Signs of life of running trials, for those whose process cannot be seen from here.

Optuna's own heartbeat works only within ``Study.optimize``, compares clocks, and its thread ends
for good when one write fails. Here no clocks are compared: a trial is alive while someone who
looks at it again and again sees it change.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from search.engine.attributes import WORKER
from search.engine.owners import is_here

if TYPE_CHECKING:
    import optuna

BEAT = "search:beat"  # system attribute of a running trial
BEAT_SECONDS = 20.0
GRACE_SECONDS = 180.0  # a beat may wait 60 s for a locked database
MOST_SECONDS = 60.0  # of silence between two looks


class Heartbeat:
    """Counts up in a running trial from a thread; use as a context manager around its training.

    It has stopped when the block ends, so nothing is written to a trial that is finished.

    Args:
        study: The trial's.
        trial_id: Of a running trial.
        seconds: Between two beats.
    """

    def __init__(self, study: optuna.Study, trial_id: int, seconds: float = BEAT_SECONDS) -> None:
        self._storage = study._storage
        self._trial_id = trial_id
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        for count in itertools.count(1):
            if self._ended.wait(self._seconds):
                return
            try:
                self._storage.set_trial_system_attr(self._trial_id, BEAT, count)
            except Exception:  # noqa: S112  the training itself tells of a storage that stays away
                continue


class Silence:
    """Tells which running trials of other machines have shown no sign of life for too long.

    Where two looks lie far apart, because the one who looks had to wait for a database server for
    instance, only ``MOST_SECONDS`` of that count: nobody else could write a sign of life either.

    Args:
        grace: Seconds of silence, by the clock of the one who looks.
        clock: In seconds.
    """

    def __init__(
        self, grace: float = GRACE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace = grace
        self._clock = clock
        self._looked = clock()
        self._watched = 0.0  # seconds
        self._seen: dict[int, tuple[object, float]] = {}  # by trial: what was seen, since when

    def look(self, trials: Iterable[FrozenTrial]) -> set[int]:
        """Look at a study's trials; call it often.

        Returns:
            The numbers of those that have been silent for the grace period.
        """
        self._watched += min(self._clock() - self._looked, MOST_SECONDS)
        self._looked = self._clock()
        now = self._watched
        seen: dict[int, tuple[object, float]] = {}
        for trial in trials:
            if trial.state == TrialState.RUNNING and not is_here(WORKER.of(trial)):
                signs = (
                    trial.system_attrs.get(BEAT),
                    len(trial.params),
                    len(trial.intermediate_values),
                )
                before, since = self._seen.get(trial.number, (None, now))
                seen[trial.number] = (signs, since if before == signs else now)
        self._seen = seen
        return {number for number, (_, since) in seen.items() if now - since >= self._grace}
