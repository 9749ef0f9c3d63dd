"""How sure an accuracy is: intervals of a share of images, and of a mean over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A closed interval of accuracies in [0, 1]."""

    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share at least one point."""
        return self.low <= other.high and other.low <= self.high


def wilson(share: float, images: int) -> Interval:
    """Wilson's 95 % score interval of a share seen on ``images`` independent images.

    Unlike the usual ``p ± z·s`` it stays within [0, 1] and is right near 1, where accuracies live
    (Wilson 1927; Brown, Cai and DasGupta 2001). It holds for an accuracy measured once; one that
    was chosen as the best of many is optimistic on top of it.

    Args:
        share: The accuracy in [0, 1]; that of the nearest whole number of images is taken.
        images: How many images it was measured on, at least 1.

    Raises:
        ValueError: If the share is outside [0, 1] or there is no image.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"`share` must be in [0, 1], but got {share}.")
    if images < 1:
        raise ValueError(f"`images` must be at least 1, but got {images}.")
    from scipy import stats  # takes most of a second, and a search that runs needs none

    interval = stats.binomtest(round(share * images), images).proportion_ci(0.95, method="wilson")
    return Interval(low=float(interval.low), high=float(interval.high))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Student's 95 % interval of a mean of accuracies; None of fewer than two."""
    interval = paired_test(values)[1]
    return interval and Interval(low=max(0.0, interval.low), high=min(1.0, interval.high))


def paired_test(differences: Sequence[float]) -> tuple[float | None, Interval | None]:
    """Student's t test of whether a mean is zero: the two-sided p-value, and its 95 % interval.

    Of values that are all the same the interval has no width, and p is 0 or, of zeros, 1.

    Returns:
        Two times None of fewer than two values.
    """
    if len(differences) < 2:
        return None, None
    mean = statistics.fmean(differences)
    if statistics.stdev(differences) < 1e-12:
        return float(abs(mean) < 1e-12), Interval(low=mean, high=mean)
    from scipy import stats  # takes half a second, and a study without finalists needs none

    test = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(0.95)
    return float(test.pvalue), Interval(low=float(low), high=float(high))


def welch_test(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float | None, Interval | None]:
    """Welch's t test of whether two means differ, the variances being what they are.

    Returns:
        The two-sided p-value and the 95 % interval of the first mean minus the second; None twice
        where either has fewer than two values, or all are the same.
    """
    if min(len(first), len(second)) < 2 or max(map(statistics.stdev, (first, second))) < 1e-12:
        return None, None
    from scipy import stats

    test = stats.ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return float(test.pvalue), Interval(low=float(low), high=float(high))
