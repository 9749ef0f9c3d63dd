from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.reporting.intervals import Interval, wilson


@pytest.mark.parametrize(
    ("share", "images", "low", "high"),
    [  # scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson"), scipy 1.17.1
        (0.994, 10_000, 0.9922851325, 0.9953354771),
        (1.0, 10_000, 0.9996160016, 1.0),
        (0.0, 20, 0.0, 0.1611251581),
        (0.5, 10, 0.2365930905, 0.7634069095),
    ],
)
def test_known_intervals(share: float, images: int, low: float, high: float) -> None:
    interval = wilson(share, images)

    assert interval.low == pytest.approx(low, abs=1e-9)
    assert interval.high == pytest.approx(high, abs=1e-9)


COUNTS = st.integers(1, 50_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_an_interval_holds_its_share_within_0_and_1(counts: tuple[int, int]) -> None:
    right, images = counts
    interval = wilson(right / images, images)

    assert 0.0 <= interval.low <= right / images + 1e-12
    assert right / images - 1e-12 <= interval.high <= 1.0


@given(COUNTS)
def test_more_images_make_it_narrower(counts: tuple[int, int]) -> None:
    right, images = counts
    few, many = wilson(right / images, images), wilson(right / images, 2 * images)

    assert many.high - many.low < few.high - few.low


def test_overlap_includes_a_shared_end() -> None:
    first = Interval(low=0.1, high=0.2)

    assert first.overlaps(Interval(low=0.2, high=0.3))
    assert first.overlaps(Interval(low=0.0, high=0.5))
    assert not first.overlaps(Interval(low=0.21, high=0.3))
    assert not Interval(low=0.21, high=0.3).overlaps(first)


@pytest.mark.parametrize(("share", "images"), [(-0.1, 10), (1.1, 10), (0.5, 0)])
def test_impossible_arguments_are_refused(share: float, images: int) -> None:
    with pytest.raises(ValueError, match="but got"):
        wilson(share, images)
