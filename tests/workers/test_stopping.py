"""When a search ends before it has all of its trials."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.trial import FrozenTrial

from search.architecture.references import REFERENCES
from search.reporting.records import StudyLimits
from search.workers.stopping import Stopping
from tests.reporting.studies import complete, pruned

LIMITS = StudyLimits(validation_images=10_000)


def trained(accuracy: float, which: int = 0) -> FrozenTrial:
    one = REFERENCES["narrow-8k"].candidate
    one = replace(one, recipe=replace(one.recipe, learning_rate=0.01 + which / 1000))
    return complete(accuracy=accuracy, candidate=one)


def numbered(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    for number, trial in enumerate(trials):
        trial.number = number
    return trials


def over() -> FrozenTrial:
    return pruned(reason="", last=None, over_budget=True)


@pytest.mark.parametrize(
    ("trials", "stall", "ends"),
    [
        ([trained(0.99), *(trained(0.98, i) for i in range(1, 4))], 3, True),
        ([trained(0.99), *(trained(0.98, i) for i in range(1, 3))], 3, False),
        ([trained(0.98), trained(0.99, 1), trained(0.98, 2), over(), over()], 3, True),
        ([trained(0.98), trained(0.97, 1), over(), trained(0.99, 2)], 3, False),
        ([trained(0.99), trained(0.98, 1), trained(0.99), trained(0.995)], 3, True),  # seeds
        ([over(), over(), over()], 3, True),
        ([], 1, False),
    ],
)
def test_a_stall_is_so_many_trials_without_a_better_architecture(
    trials: list[FrozenTrial], stall: int, ends: bool
) -> None:
    stopping = Stopping(stall=stall)
    assert stopping.is_enough(numbered(trials), LIMITS) is ends
    assert bool(stopping.reason) is ends


def test_the_target_is_reached_when_another_seed_is_expected_to() -> None:
    middling = [trained(0.990 + i / 10_000, i) for i in range(8)]
    lucky = numbered([*middling, trained(0.9941, 9)])
    stopping = Stopping(target=0.994)
    assert not stopping.is_enough(lucky, LIMITS)
    again = numbered([*middling, *(trained(0.9945, 9) for _ in range(6))])
    assert stopping.is_enough(again, LIMITS)
    assert "trial 8's architecture" in stopping.reason
    assert "99.40 %" in stopping.reason


def test_the_time_is_counted_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stopping = Stopping(hours=0.5)
    now = 1_000.0
    stopping.begin()
    assert stopping.seconds_left == 1_800
    now = 2_799.0
    assert not stopping.is_time_over()
    now = 2_801.0
    assert stopping.is_time_over()
    assert stopping.reason == "the time limit of 30 min was reached"


def test_without_a_wish_nothing_ends() -> None:
    stopping = Stopping()
    assert stopping.seconds_left is None
    assert not stopping.is_time_over()
    assert not stopping.is_enough(numbered([over()] * 3), LIMITS)
