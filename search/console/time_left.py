"""How long a search still takes, from what its candidates cost rather than from how many they are.

Candidates differ ten-fold and more in multiply-accumulates, and the cheap ones finish first: the
mean time of the finished trials says little about those that run, and less about the next.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from search.study.attributes import EPOCHS, MACS, SECONDS


def seconds_left(
    trials: Sequence[FrozenTrial], total: int, *, epochs: int, workers: int
) -> float | None:
    """Wall seconds until `total` trials are finished; None before anything can be said.

    The seconds of an epoch are taken as a fixed part plus a part in proportion to a candidate's
    multiply-accumulates, fitted to the trials that were trained. A running trial has its missing
    epochs left; trials to come cost what those cost that were begun so far, each with its own
    multiply-accumulates, an over-budget one next to nothing.

    Args:
        trials: All of the study.
        total: Finished trials in the end; failed ones do not count.
        epochs: The most epochs of a trial.
        workers: How many run side by side.
    """
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    trained = [
        (macs, EPOCHS.of(trial) or 0, SECONDS.of(trial))
        for trial in finished
        if (macs := MACS.of(trial))
    ]
    points = [
        (float(macs), taken / count)
        for macs, count, taken in trained
        if count and taken is not None
    ]
    if not points:
        return None
    base, per_mac = _line(points)
    running = [
        (base + per_mac * macs, max(trial.intermediate_values, default=0))
        for trial in trials
        if trial.state == TrialState.RUNNING and (macs := MACS.of(trial))
    ]
    begun = [count * (base + per_mac * macs) for macs, count, _ in trained]
    begun += [epochs * cost for cost, _ in running]
    in_training = sum((epochs - done) * cost for cost, done in running)
    missing = max(total - len(finished) - len(running), 0)
    return (in_training + missing * statistics.fmean(begun)) / workers


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Base and slope of least squares, neither below zero."""
    macs = [x for x, _ in points]
    if len(set(macs)) < 2:
        return statistics.fmean(y for _, y in points), 0.0
    slope, base = statistics.linear_regression(macs, [y for _, y in points])
    if base < 0:
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x in macs)
    if slope < 0:
        return statistics.fmean(y for _, y in points), 0.0
    return base, slope
