"""What one space drew, drawn again from another."""

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
from optuna.trial import BaseTrial
from torch import nn

from search.architecture.refitting import Refitted, default_of, in_range, nearest, refit
from search.candidates.candidate import Candidate

RANGES: dict[str, BaseDistribution] = {
    "depth": IntDistribution(1, 3),
    "rate": FloatDistribution(0.01, 0.1, log=True),
    "kind": CategoricalDistribution(["gelu", "relu"]),
}


def fit(
    params: dict[str, Any], ranges: dict[str, BaseDistribution], defaults: dict[str, Any]
) -> Refitted:
    """Drawn from a space of these ranges."""

    def suggest(trial: BaseTrial) -> Candidate:
        for name, kind in ranges.items():
            if isinstance(kind, CategoricalDistribution):
                trial.suggest_categorical(name, kind.choices)
            elif isinstance(kind, IntDistribution):
                trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
            elif isinstance(kind, FloatDistribution):
                trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)
        return Candidate(build=nn.Identity, name="any")

    return refit(params, defaults, suggest)


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
    assert not (fitted.added or fitted.dropped or fitted.outside)
    assert fitted.candidate is not None
    assert fitted.ranges == RANGES


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


def test_a_space_is_asked_for_what_it_draws_then() -> None:
    """What is drawn may depend on what was drawn."""

    def suggest(trial: BaseTrial) -> Candidate:
        if trial.suggest_categorical("opt", ["sgd", "adamw"]) == "adamw":
            trial.suggest_float("decay", 0.01, 0.1)
        return Candidate(build=nn.Identity, name="any")

    plain = refit({"opt": "sgd"}, {}, suggest)
    assert (plain.params, plain.added) == ({"opt": "sgd"}, ())
    other = refit({"opt": "adamw", "decay": 0.02}, {}, suggest)
    assert other.params == {"opt": "adamw", "decay": 0.02}
    assert not (other.added or other.dropped or other.outside)


def test_a_single_value_is_what_it_is() -> None:
    assert fit({"x": 3}, {"x": IntDistribution(5, 5)}, {}).moved == ("x",)


def test_a_space_that_raises_has_no_candidate() -> None:
    def suggest(trial: BaseTrial) -> Candidate:
        trial.suggest_int("x", 0, 1)
        raise RuntimeError

    assert refit({"x": 1}, {}, suggest).candidate is None


def test_a_default_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the default -7 of x is not from 0 to 3"):
        fit({}, {"x": IntDistribution(0, 3)}, {"x": -7})
