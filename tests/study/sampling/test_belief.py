"""What the seeds of a study's candidates say of each."""

from __future__ import annotations

import random
import statistics

import pytest

from search.study.sampling.belief import posteriors

VALUES = [[0.996, 0.994], [0.997], [0.993, 0.995, 0.9952], [0.99], [0.97]]


def test_a_mean_is_drawn_to_the_middle_the_more_the_fewer_seeds_it_stands_on() -> None:
    once, thrice = posteriors([[0.5], [0.6], [0.9], [0.9, 0.9, 0.9]])[2:]
    assert 0.6 < once.expected < thrice.expected < 0.9
    assert thrice.deviation < once.deviation


def test_order_of_single_seeds_stays() -> None:
    single = [[0.99], [0.98], [0.995], [0.97]]
    expected = [posterior.expected for posterior in posteriors(single)]
    assert sorted(range(4), key=expected.__getitem__) == [3, 1, 0, 2]


def test_units_and_order_do_not_matter() -> None:
    there = posteriors(VALUES)
    moved = posteriors([[100 * value - 7 for value in seeds] for seeds in VALUES])
    turned = posteriors(VALUES[::-1])[::-1]
    for one, other, same in zip(there, moved, turned, strict=True):
        assert other.expected == pytest.approx(100 * one.expected - 7)
        assert other.deviation == pytest.approx(100 * one.deviation)
        assert (same.expected, same.deviation) == pytest.approx((one.expected, one.deviation))


@pytest.mark.parametrize("values", [[], [[0.5]], [[0.5], [0.5]], [[0.5, 0.6]], [[0.5] * 3] * 4])
def test_few_or_equal_values_stay_what_they_are(values: list[list[float]]) -> None:
    found = posteriors(values)
    assert [one.expected for one in found] == pytest.approx([statistics.fmean(v) for v in values])


def test_expected_values_are_nearer_the_truth_than_means_and_do_not_flatter() -> None:
    """200 searches of 60 candidates with luck as large as their differences; some have seeds."""
    draw = random.Random(0)
    error, of_means, flattery, of_best = [], [], [], []
    for _ in range(200):
        true = [draw.gauss(0, 1) for _ in range(60)]
        values = [[t + draw.gauss(0, 1)] for t in true]
        for at in sorted(range(60), key=lambda i: -values[i][0])[:10]:
            values[at] += [true[at] + draw.gauss(0, 1) for _ in range(2)]
        found = posteriors(values)
        error += [(one.expected - t) ** 2 for one, t in zip(found, true, strict=True)]
        of_means += [(statistics.fmean(v) - t) ** 2 for v, t in zip(values, true, strict=True)]
        best = max(range(60), key=lambda i: found[i].expected)
        flattery.append(found[best].expected - true[best])
        naive = max(range(60), key=lambda i: values[i][0])
        of_best.append(values[naive][0] - true[naive])
    assert statistics.fmean(error) < 0.8 * statistics.fmean(of_means)
    assert abs(statistics.fmean(flattery)) < 0.35 < statistics.fmean(of_best)
