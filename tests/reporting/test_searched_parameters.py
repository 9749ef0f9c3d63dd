from __future__ import annotations

import math
import random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from search.reporting.searched_parameters import (
    FEWEST_TRIALS,
    Dimension,
    measure_importance,
    read_dimensions,
)
from tests.reporting.studies import complete


def test_positions_run_from_0_to_1() -> None:
    plain = Dimension(name="x", low=10, high=20)
    rate = Dimension(name="rate", low=0.01, high=1.0, log=True)
    choice = Dimension(name="head", choices=("a", "b", "c"))

    assert [plain.position(value) for value in (10, 15.0, 20)] == [0, 0.5, 1]
    assert rate.position(0.1) == pytest.approx(0.5)
    assert [choice.position(value) for value in "abc"] == [0, 0.5, 1]


@pytest.mark.parametrize("value", [None, "x", math.nan, 9.9, 21])
def test_a_value_outside_has_no_position(value: object) -> None:
    assert Dimension(name="x", low=10, high=20).position(value) is None


def test_a_range_of_one_value_has_no_positions() -> None:
    assert Dimension(name="x", low=3, high=3).position(3) is None


def test_ranges_that_differ_between_trials_are_joined() -> None:
    trials = [
        complete(params={"w": 8}, distributions={"w": IntDistribution(4, 16, log=True)}),
        complete(
            params={"w": 30, "k": "b"},
            distributions={
                "w": IntDistribution(8, 32, log=True),
                "k": CategoricalDistribution(["a", "b"]),
            },
        ),
        complete(params={"r": 0.5}, distributions={"r": FloatDistribution(0, 1)}),
    ]

    assert read_dimensions(trials) == (
        Dimension(name="w", low=4, high=32, log=True, whole=True),
        Dimension(name="k", choices=("a", "b")),
        Dimension(name="r", low=0, high=1),
    )
    assert read_dimensions(trials)[0].ends() == ("4", "32")


MAXIMIZE = [optuna.study.StudyDirection.MAXIMIZE]
RANGES = {"matters": FloatDistribution(0, 1), "noise": FloatDistribution(0, 1)}


def drawn(count: int) -> list[FrozenTrial]:
    rng = random.Random(1)
    params = [{"matters": rng.random(), "noise": rng.random()} for _ in range(count)]
    return [complete(accuracy=p["matters"], params=p, distributions=RANGES) for p in params]


def test_the_parameter_that_decides_comes_first() -> None:
    importance = measure_importance(drawn(60), MAXIMIZE)

    assert [name for name, _ in importance.shares] == ["matters", "noise"]
    assert importance.shares[0][1] > 0.8
    assert sum(share for _, share in importance.shares) > 0.999
    assert importance.trials == 60


def test_too_few_trials_give_a_reason() -> None:
    importance = measure_importance(drawn(FEWEST_TRIALS - 1), MAXIMIZE)

    assert importance.shares == ()
    assert "19" in importance.reason
    assert measure_importance(drawn(FEWEST_TRIALS), MAXIMIZE).shares


def test_equal_values_give_a_reason() -> None:
    trials = [
        complete(accuracy=0.5, params={"noise": n / 30}, distributions={"noise": RANGES["noise"]})
        for n in range(30)
    ]

    assert "same value" in measure_importance(trials, MAXIMIZE).reason


def test_it_leaves_optuna_s_verbosity_as_it_was() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    measure_importance(drawn(25), MAXIMIZE)

    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
