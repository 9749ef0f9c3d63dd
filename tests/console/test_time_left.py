"""The time left follows what candidates cost."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.console.time_left import seconds_left

EPOCHS = 20


def trial(
    macs: int, epochs: int = EPOCHS, *, base: float = 0.5, per_mac: float = 2e-6
) -> FrozenTrial:
    """A finished trial whose epochs cost a fixed part and one by multiply-accumulates."""
    attributes = {"macs": macs, "epochs": epochs, "seconds": epochs * (base + per_mac * macs)}
    state = TrialState.COMPLETE if epochs == EPOCHS else TrialState.PRUNED
    return create_trial(state=state, value=0.9 if epochs == EPOCHS else None, user_attrs=attributes)


def running(macs: int, epoch: int) -> FrozenTrial:
    study = optuna.create_study()
    made = study.ask({"x": FloatDistribution(0, 1)})
    made.set_user_attr("macs", macs)
    for step in range(1, epoch + 1):
        made.report(0.5, step)
    return study.trials[0]


def test_nothing_is_said_before_a_trial_was_trained() -> None:
    assert seconds_left([running(1000, 3)], 10, epochs=EPOCHS, workers=1) is None


def test_a_running_trial_has_its_own_cost() -> None:
    """Cheap trials are done, one ten times as dear runs: three quarters of it are left."""
    trials = [trial(100_000), trial(200_000), running(1_500_000, 5)]
    left = seconds_left(trials, 3, epochs=EPOCHS, workers=1)
    assert left == pytest.approx(15 * (0.5 + 2e-6 * 1_500_000))


def test_trials_to_come_cost_what_the_begun_ones_do() -> None:
    """Also the running one counts, whole; pruned ones with the epochs they had."""
    trials = [trial(100_000), trial(400_000, 5), running(1_000_000, 20)]
    costs = [20 * 0.7, 5 * 1.3, 20 * 2.5]
    left = seconds_left(trials, 8, epochs=EPOCHS, workers=2)
    assert left == pytest.approx(5 * sum(costs) / 3 / 2)


def test_over_budget_trials_cost_nothing() -> None:
    over = create_trial(state=TrialState.PRUNED, user_attrs={"macs": 10**7, "over_budget": True})
    alone = seconds_left([trial(100_000)], 2, epochs=EPOCHS, workers=1)
    half = seconds_left([trial(100_000), over], 3, epochs=EPOCHS, workers=1)
    assert alone is not None and half == pytest.approx(alone / 2)


def test_noise_never_makes_a_dearer_candidate_cheaper() -> None:
    trials = [trial(100_000, base=3.0, per_mac=0), trial(900_000, base=1.0, per_mac=0)]
    left = seconds_left([*trials, running(10_000_000, 0)], 3, epochs=EPOCHS, workers=1)
    assert left == pytest.approx(20 * 2.0)
