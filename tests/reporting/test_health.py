from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.architecture.candidate import LayeredCandidate
from search.architecture.references import REFERENCES
from search.reporting import health
from search.reporting.health import Health
from search.reporting.leaderboard import Summary
from search.reporting.ranking import rank
from search.reporting.records import StudyLimits, TrialRecord, read_trials
from search.reporting.searched_parameters import Dimension
from tests.reporting.studies import complete, curve, pruned

LIMITS = StudyLimits(validation_images=10_000)
RATE = Dimension(name="rate", low=0.0, high=1.0)


def records(*trials: FrozenTrial) -> list[TrialRecord]:
    for number, trial in enumerate(trials):
        trial.number = number
    return list(read_trials(trials, LIMITS))


def drawn(number: int) -> LayeredCandidate:
    """One of many candidates."""
    one = REFERENCES["narrow-8k"].candidate
    return replace(one, recipe=replace(one.recipe, learning_rate=0.01 + number / 1000))


def best_first(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return sorted(trials, key=lambda trial: -(trial.accuracy or 0.0))


@pytest.mark.parametrize(
    ("late", "verdict"),
    [
        ([0.99] * 10, Health.PASS),
        ([*[0.99] * 9, 0.9951], Health.PASS),  # 99.5 % had been seen before
        ([0.999] * 10, Health.WARNING),
        ([0.99] * 9, Health.UNKNOWN),
    ],
)
def test_whether_more_trials_pay(late: list[float], verdict: Health) -> None:
    draws = [*[0.99] * 19, 0.995, *late]
    drawn_once = (complete(accuracy=a, candidate=drawn(i)) for i, a in enumerate(draws))
    trials = records(*drawn_once)
    assert health.settled(trials, rank(trials, LIMITS)).verdict is verdict


def test_seeds_count_for_whether_more_trials_pay() -> None:
    """The last third found nothing new, but that what was first had only been lucky."""
    values = [*[(i, 0.99) for i in range(18)], (18, 0.994), (19, 0.996)]
    values += [(19, 0.99)] * 5 + [(18, 0.994)] * 5
    trials = records(*(complete(accuracy=value, candidate=drawn(i)) for i, value in values))
    entries = rank(trials, LIMITS)
    assert entries[0].trial.number == 18
    assert health.settled(trials, entries).verdict is Health.WARNING


def over() -> FrozenTrial:
    return pruned(reason="", last=None, over_budget=True)


def test_every_check_is_in_the_report_with_its_rule(summary: Summary) -> None:
    assert len(summary.health) == 9
    assert all(check.question.endswith("?") and check.rule for check in summary.health)


@pytest.mark.parametrize(("count", "verdict"), [(19, Health.WARNING), (20, Health.PASS)])
def test_enough_complete(count: int, verdict: Health) -> None:
    assert health.enough_complete(records(*(complete() for _ in range(count)))).verdict is verdict


@pytest.mark.parametrize(
    ("ties", "ranked", "limits", "verdict"),
    [
        (1, 5, LIMITS, Health.PASS),
        (2, 5, LIMITS, Health.WARNING),
        (1, 1, LIMITS, Health.UNKNOWN),
        (2, 5, StudyLimits(), Health.UNKNOWN),
    ],
)
def test_gaps_above_noise(ties: int, ranked: int, limits: StudyLimits, verdict: Health) -> None:
    assert health.gaps_above_noise(ties, ranked, limits).verdict is verdict


@pytest.mark.parametrize(
    ("accuracies", "sampler", "verdict"),
    [
        ([0.9, 0.95, 0.96], "tpe", Health.PASS),
        ([0.9, 0.95, 0.94], "tpe", Health.WARNING),
        ([0.9, 0.95], "tpe", Health.UNKNOWN),
        ([0.9, 0.95, 0.94], "random", Health.UNKNOWN),
    ],
)
def test_better_than_startup(accuracies: list[float], sampler: str, verdict: Health) -> None:
    trials = records(*(complete(accuracy=accuracy) for accuracy in accuracies))

    check = health.better_than_startup(trials, rank(trials, LIMITS), 2, sampler)

    assert check.verdict is verdict


@pytest.mark.parametrize(
    ("too_large", "verdict"), [(0, Health.PASS), (1, Health.PASS), (2, Health.WARNING)]
)
def test_few_over_budget(too_large: int, verdict: Health) -> None:
    trials = records(*(complete() for _ in range(5 - too_large)), *(over(),) * too_large)

    assert health.few_over_budget(trials).verdict is verdict


def test_over_budget_of_nothing_is_unknown() -> None:
    assert health.few_over_budget([]).verdict is Health.UNKNOWN


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.0, 0.99, 0.985, 0.5, 0.4], Health.WARNING),
        ([1.0, 0.99, 0.5, 0.5, 0.4], Health.PASS),
        ([0.0, 0.01, 0.0, 1.0, 1.0], Health.WARNING),
        ([0.0, 0.01, 0.5, 1.0, 1.0], Health.PASS),
        ([1.0, 1.0, 1.0, 1.0], Health.UNKNOWN),
    ],
)
def test_best_inside_ranges(values: list[float], verdict: Health) -> None:
    trials = [complete() for _ in values]
    for trial, value in zip(trials, values, strict=True):
        trial._params = {"rate": value}

    assert health.best_inside_ranges(records(*trials), [RATE]).verdict is verdict


def test_the_ends_of_a_short_integer_range_are_choices() -> None:
    trials = [complete() for _ in range(5)]
    for trial in trials:
        trial._params = {"depth": 3}
    short = Dimension(name="depth", low=1, high=3, whole=True)
    long = Dimension(name="depth", low=1, high=3, whole=False)

    assert health.best_inside_ranges(records(*trials), [short]).verdict is Health.PASS
    assert health.best_inside_ranges(records(*trials), [long]).verdict is Health.WARNING


@pytest.mark.parametrize(
    ("early", "limits", "verdict"),
    [
        (None, LIMITS, Health.PASS),
        (0.5, LIMITS, Health.WARNING),
        (0.937, LIMITS, Health.PASS),  # the median is 0.9387, its standard error 0.0024
        (0.937, StudyLimits(), Health.WARNING),
    ],
)
def test_pruner_spares_the_best(early: float | None, limits: StudyLimits, verdict: Health) -> None:
    good = [complete(accuracy=0.99 + n / 1000) for n in range(5)]
    if early is not None:  # the best of all starts badly
        good[4].intermediate_values = {**curve(0.994, 20), 5: early}
    rest = [complete(accuracy=0.95) for _ in range(6)]
    cut = [pruned(reason="median", last=0.9, epoch=epoch) for epoch in (4, 5, 5)]
    trials = records(*good, *rest, *cut)
    ranked = best_first([trial for trial in trials if trial.parameters])

    check = health.pruner_spares_the_best(trials, ranked, limits)

    assert check.verdict is verdict
    assert "epoch 5" in check.found


def test_without_pruned_trials_the_pruner_is_not_judged() -> None:
    trials = records(*(complete() for _ in range(6)))

    assert health.pruner_spares_the_best(trials, trials, LIMITS).verdict is Health.UNKNOWN


@pytest.mark.parametrize(
    ("late", "verdict"), [(7, Health.PASS), (8, Health.WARNING), (None, Health.UNKNOWN)]
)
def test_pruner_lets_trials_pass(late: int | None, verdict: Health) -> None:
    """Only the later half counts, and only trials that were trained."""

    def some(cut: int) -> list[FrozenTrial]:
        ended = [pruned(reason="median", last=0.9, epoch=4) for _ in range(cut)]
        return [*(complete() for _ in range(10 - cut)), *ended]

    over = [pruned(reason="over budget", over_budget=True) for _ in range(5)]
    trials = records(*over, *some(10), *(some(late) if late is not None else []))
    check = health.pruner_lets_trials_pass(trials)
    assert check.verdict is verdict
    if late is not None:
        assert check.found.startswith(f"{10 * late} %")


@pytest.mark.parametrize(("failed", "verdict"), [(1, Health.PASS), (2, Health.WARNING)])
def test_few_failures(failed: int, verdict: Health) -> None:
    trials = [create_trial(state=TrialState.FAIL) for _ in range(failed)]
    cut = create_trial(state=TrialState.FAIL, user_attrs={"retried": True})

    check = health.few_failures(records(*trials, *(complete() for _ in range(20 - failed)), cut))

    assert check.verdict is verdict


def test_references_are_left_out() -> None:
    label = "reference: narrow-8k"
    trials = records(*(complete(label=label) for _ in range(30)))
    checks = health.check_health(
        trials=trials, entries=[], limits=LIMITS, dimensions=[], settings={}
    )

    assert checks[0].found == "0 complete"
