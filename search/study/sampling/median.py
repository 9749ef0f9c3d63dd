"""Median pruning for accuracies that are counted on so many images."""

from __future__ import annotations

import math
import statistics

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.study.sampling.seeds import first_seeds


class MedianPruner(BasePruner):
    """The median rule, with an allowance for chance.

    Optuna's rule ends a trial whose best accuracy so far is below the median of the complete
    trials' at the same epoch. These are the survivors of the same rule, so the median rises until
    hardly any trial passes: a default search over a narrow space ended 80 % of its last 50 trials,
    while among its better half the accuracy at such an epoch said nearly nothing of the last one
    (docs/log/pruning.md). Here a trial must be below the median by more than the standard error of
    an accuracy ``p`` that was counted on ``n`` images, ``sqrt(p (1 - p) / n)``.

    The median is that of candidates: further seeds of one, which only the best get, do not count.

    Args:
        images: How many images the accuracies are counted on.
        n_startup_trials: No trial is ended before so many candidates are complete.
        n_warmup_steps: No trial is ended before this epoch.
    """

    def __init__(self, images: int, *, n_startup_trials: int, n_warmup_steps: int) -> None:
        self._images = images
        self._startup, self._warmup = n_startup_trials, n_warmup_steps

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial shall end; the study's accuracies are to be large."""
        step = trial.last_step
        complete = first_seeds(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if step is None or step < self._warmup or len(complete) < self._startup:
            return False
        values = [t.intermediate_values.get(step, math.nan) for t in complete]
        values = [value for value in values if not math.isnan(value)]
        reached = [value for value in trial.intermediate_values.values() if not math.isnan(value)]
        if not values or not reached:
            return bool(values)
        median = statistics.median(values)
        error = math.sqrt(max(0.0, median * (1 - median)) / self._images)
        return max(reached) < median - error
