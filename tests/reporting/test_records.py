from __future__ import annotations

import datetime as dt
import math

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.data.problem import MNIST_PROBLEM, Problem
from search.reporting.claims import claim_of
from search.reporting.records import Outcome, StudyLimits, read_limits, read_trials
from tests.reporting.studies import SETTINGS, complete, pruned

LIMITS = StudyLimits()


def outcome(trial: FrozenTrial, limits: StudyLimits = LIMITS) -> Outcome:
    return read_trials([trial], limits)[0].outcome


def test_pruned_is_told_from_over_budget() -> None:
    assert outcome(pruned(reason="median", parameters=900, over_budget=False)) is Outcome.PRUNED
    assert outcome(pruned(reason="x", last=None, over_budget=True)) is Outcome.OVER_BUDGET


def test_over_budget_is_judged_by_the_limits_where_it_was_not_recorded() -> None:
    large = pruned(reason="", parameters=20_001)
    costly = pruned(reason="", parameters=5, macs=2_000_000)

    assert outcome(large) is Outcome.OVER_BUDGET
    assert outcome(pruned(reason="", parameters=20_000)) is Outcome.PRUNED
    assert outcome(costly) is Outcome.PRUNED
    assert outcome(costly, StudyLimits(max_macs=1_000_000)) is Outcome.OVER_BUDGET


def test_a_trial_that_was_cut_and_is_tried_again_did_not_fail() -> None:
    failed = create_trial(state=TrialState.FAIL, user_attrs={"reason": "loss is not finite"})
    cut = create_trial(state=TrialState.FAIL, user_attrs={"retried": True})

    assert outcome(failed) is Outcome.FAILED
    assert outcome(cut) is Outcome.INTERRUPTED


def test_unusable_attributes_become_none() -> None:
    trial = complete(
        accuracy=0.5,
        parameters=None,
        macs=math.nan,
        best_epoch="3",
        best_accuracy=math.inf,
        validation_loss=True,
        peak_activation_bytes=-4,
        label=7,
        candidate=None,
    )
    trial.user_attrs["seconds"] = "long"
    trial.user_attrs["epochs"] = 2.5
    record = read_trials([trial], LIMITS)[0]

    assert record.parameters is None
    assert record.macs is None
    assert record.best_epoch is None
    assert record.best_accuracy is None
    assert record.validation_loss is None
    assert record.peak_activation_bytes is None
    assert record.label == ""
    assert record.epochs == 20  # from the curve instead


def test_a_curve_leaves_out_what_is_not_finite() -> None:
    trial = complete(accuracy=0.9, epochs=3)
    trial.intermediate_values = {3: 0.9, 1: math.nan, 2: 0.8}

    assert read_trials([trial], LIMITS)[0].curve == ((2, 0.8), (3, 0.9))


def test_seconds_fall_back_on_the_clock() -> None:
    trial = complete()
    del trial.user_attrs["seconds"]
    start = dt.datetime(2026, 1, 1, 12)
    trial.datetime_start, trial.datetime_complete = start, start + dt.timedelta(seconds=90)

    assert read_trials([trial], LIMITS)[0].seconds == 90.0


def test_a_value_that_is_infinite_or_not_alone_is_no_accuracy() -> None:
    assert read_trials([complete(accuracy=math.inf)], LIMITS)[0].accuracy is None
    two = create_trial(values=[0.5, 0.6])
    assert read_trials([two], LIMITS)[0].accuracy is None


def test_text_loses_line_breaks_and_escape_sequences() -> None:
    record = read_trials([complete(architecture="c8\n\x1b[31mc16\x07 P")], LIMITS)[0]

    assert record.architecture == "c8 [31mc16 P"


def test_a_stand_in_is_always_called_one() -> None:
    labels = ["reference: adaptive-pool-18k", "reference: narrow-8k", "adaptive-pool-18k"]
    records = read_trials([complete(label=label) for label in labels], LIMITS)

    assert [record.label for record in records] == [
        "reference: adaptive-pool-18k (stand-in)",
        "reference: narrow-8k",
        "adaptive-pool-18k",
    ]
    claims = [claim_of(record, MNIST_PROBLEM) for record in records]
    assert "99.42" in claims[0]
    assert "99.50" in claims[1]
    assert claims[2] == ""
    assert not records[2].is_reference
    assert [claim_of(record, Problem(name="clothes")) for record in records] == [""] * 3


def test_limits_come_from_the_settings() -> None:
    limits = read_limits({**SETTINGS, "max_params": 5_000, "max_macs": 10**6, "epochs": 7})

    assert limits == StudyLimits(
        max_params=5_000,
        max_macs=10**6,
        epochs=7,
        target=0.994,
        train_images=50_000,
        validation_images=10_000,
    )


@pytest.mark.parametrize("settings", [None, 3, {}, {"dataset": "x", "max_params": "many"}])
def test_limits_that_are_not_recorded_are_the_defaults_and_said_to_be(settings: object) -> None:
    limits = read_limits(settings)

    assert (limits.max_params, limits.epochs, limits.target) == (20_000, 20, None)
    assert limits.validation_images is None
    assert limits.assumed == ("max_params", "epochs")
