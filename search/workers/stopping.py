"""When a search ends before it has all of its trials."""

from __future__ import annotations

import time
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from search.console.live_view import duration, percent
from search.reporting.architectures import valid_architectures
from search.reporting.records import StudyLimits
from search.study.shared import FINISHED


class Stopping:
    """What a user has asked a search to end for; without any of it, it ends with its last trial.

    Args:
        stall: End when so many finished trials, one after the other, brought no better
            architecture: the leaderboard's first was begun before all of them. Another seed of a
            known architecture is none that is better.
        target: End when another seed of the leaderboard's first is expected to reach this accuracy,
            in [0, 1]: one lucky training is not enough.
        hours: End so long after the search began; what is being trained then goes on next time.
    """

    def __init__(
        self, *, stall: int | None = None, target: float | None = None, hours: float | None = None
    ) -> None:
        self._stall, self._target = stall, target
        self._seconds = None if hours is None else 3600 * hours
        self._began = time.monotonic()
        self._judged: set[int] = set()  # finished trials that the reason was looked for in
        self.by_time = False  # whether the reason is that the time is over
        self.reason = ""  # why the search ends, in words; empty as long as it does not

    def begin(self) -> None:
        """Count the time from now on."""
        self._began = time.monotonic()

    @property
    def seconds_left(self) -> float | None:
        """Until the time is over; None without a limit."""
        if self._seconds is None:
            return None
        return max(0.0, self._seconds - (time.monotonic() - self._began))

    def is_time_over(self) -> bool:
        """Whether to end at once."""
        over = self.seconds_left == 0
        if over and not self.reason:
            self.by_time = True
            self.reason = f"the time limit of {duration(self._seconds or 0)} was reached"
        return over

    def is_enough(self, trials: Sequence[FrozenTrial], limits: StudyLimits) -> bool:
        """Whether no more trials shall begin; those that run may end.

        Args:
            trials: All of the study.
            limits: Of the study.
        """
        if self._stall is None and self._target is None:
            return False
        finished = {trial.number for trial in trials if trial.state in FINISHED}
        if finished != self._judged:
            self._judged = finished
            self.reason = self._reason(trials, finished, limits)
        return bool(self.reason)

    def _reason(
        self, trials: Sequence[FrozenTrial], finished: set[int], limits: StudyLimits
    ) -> str:
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        best = next(iter(valid_architectures(complete, limits)), None)
        if best and self._target is not None and best.expected >= self._target:
            return (
                f"the target of {percent(self._target)} is reached: another seed of trial "
                f"{best.first.number}'s architecture is expected to have {percent(best.expected)}"
            )
        since = best.first.number if best else -1
        without = sum(number > since for number in finished)
        if self._stall is not None and without >= self._stall:
            found = f"nothing better than trial {since}" if best else "no valid architecture"
            return f"{without:,} finished trials found {found}"
        return ""
