from __future__ import annotations

import random

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial

from search.reporting.searched_parameters import FEWEST_TRIALS, measure_importance
from tests.reporting.studies import complete

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
