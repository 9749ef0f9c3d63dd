"""Parameters of one space in the ranges of another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.study.transfer.fitting import default_of, fit, in_range, nearest

RANGES: dict[str, BaseDistribution] = {
    "depth": IntDistribution(1, 3),
    "rate": FloatDistribution(0.01, 0.1, log=True),
    "kind": CategoricalDistribution(["gelu", "relu"]),
}
NUMBERS = [
    IntDistribution(1, 3),
    IntDistribution(2, 12, step=5),
    IntDistribution(4, 64, log=True),
    FloatDistribution(0.01, 0.1, log=True),
    FloatDistribution(-1.0, 1.0, step=0.25),
    FloatDistribution(0.0, 0.5),
]


def test_what_lies_within_stays_as_it_is() -> None:
    params = {"depth": 2, "rate": 0.0123, "kind": "relu"}
    fitted = fit(params, RANGES, {})
    assert fitted.params == params
    assert not (fitted.added or fitted.dropped or fitted.moved or fitted.lost)


def test_what_lies_elsewhere_is_named() -> None:
    params = {"depth": 7, "rate": 0.5, "kind": "silu", "old": 1}
    fitted = fit(params, {**RANGES, "new": FloatDistribution(0, 1)}, {"new": 0.25})
    assert fitted.params == {"depth": 3, "rate": 0.1, "kind": "gelu", "new": 0.25}
    assert fitted.moved == ("depth", "rate")
    assert fitted.lost == ("kind",)
    assert fitted.dropped == ("old",)
    assert fitted.added == ("new",)


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (CategoricalDistribution([None, "a"]), None),
        (IntDistribution(2, 5), 2),
        (FloatDistribution(0.0, 0.5), 0.0),
        (FloatDistribution(0.5, 1.5), 1.0),
        (FloatDistribution(0.01, 1.0, log=True), 0.1),
    ],
)
def test_defaults(kind: BaseDistribution, default: Any) -> None:
    assert default_of(kind) == pytest.approx(default) if default else default_of(kind) == default


@given(kind=st.sampled_from(NUMBERS), value=st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9))
def test_the_nearest_is_in_the_range_and_stays_where_it_is(
    kind: BaseDistribution, value: float
) -> None:
    found = nearest(value, kind)
    assert kind._contains(kind.to_internal_repr(found))
    assert type(found) is (int if isinstance(kind, IntDistribution) else float)
    assert nearest(found, kind) == found


@pytest.mark.parametrize(
    ("value", "kind", "is_lost"),
    [
        (3, CategoricalDistribution([1, 3.0]), False),
        (True, CategoricalDistribution([1, 0]), True),
        ("3", IntDistribution(1, 5), True),
        (None, CategoricalDistribution([None, 1]), False),
        (2.0, IntDistribution(1, 5), False),
    ],
)
def test_a_value_of_another_kind_is_lost(value: Any, kind: BaseDistribution, is_lost: bool) -> None:
    assert fit({"x": value}, {"x": kind}, {}).lost == (("x",) if is_lost else ())


def test_ranges_in_words() -> None:
    assert in_range(IntDistribution(1, 3)) == "from 1 to 3"
    assert in_range(IntDistribution(0, 10, step=5)) == "from 0 to 10 in steps of 5"
    assert in_range(CategoricalDistribution(["a", 2])) == "one of a, 2"
