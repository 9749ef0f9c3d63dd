"""How sure an accuracy is: the interval of a share counted on a number of images."""

from __future__ import annotations

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
