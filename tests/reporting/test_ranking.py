from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial

from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import Conv, Pool
from search.architecture.references import REFERENCES
from search.reporting.architectures import valid_architectures
from search.reporting.constraints import why_not_valid
from search.reporting.intervals import mean_interval
from search.reporting.ranking import Entry, judge, rank
from search.reporting.records import StudyLimits, read_trials
from tests.reporting.studies import complete

LIMITS = StudyLimits(target=0.994, validation_images=10_000)


def ranked(*trials: FrozenTrial, limits: StudyLimits = LIMITS) -> tuple[Entry, ...]:
    for number, trial in enumerate(trials):
        trial.number = number
    return rank(read_trials(trials, limits), limits)


def test_accuracy_ranks_then_size_then_age() -> None:
    entries = ranked(
        complete(accuracy=0.99, parameters=900),
        complete(accuracy=0.99, parameters=800),
        complete(accuracy=0.995, parameters=19_000),
        complete(accuracy=0.99, parameters=800),
    )

    assert [entry.trial.number for entry in entries] == [2, 1, 3, 0]
    assert [entry.rank for entry in entries] == [1, 2, 3, 4]


def test_overlapping_intervals_are_ties_of_the_first_of_their_group() -> None:
    entries = ranked(*(complete(accuracy=accuracy) for accuracy in (0.995, 0.994, 0.99, 0.97)))

    assert [entry.tie for entry in entries] == [1, 1, 3, 4]
    assert [entry.tied for entry in entries] == [True, True, False, False]


def test_a_tie_does_not_reach_beyond_the_first_one_s_interval() -> None:
    steps = [0.996 - 0.001 * step for step in range(6)]  # each overlaps its neighbour
    entries = ranked(*(complete(accuracy=accuracy) for accuracy in steps))
    first = entries[0].interval

    assert first is not None
    for entry in entries:
        assert entry.interval is not None
        assert (entry.tie == 1) == first.overlaps(entry.interval)
    assert {entry.tie for entry in entries} != {1}


def test_without_the_number_of_images_only_equals_tie() -> None:
    entries = ranked(
        *(complete(accuracy=accuracy) for accuracy in (0.994, 0.994, 0.9939)), limits=StudyLimits()
    )

    assert [entry.interval for entry in entries] == [None] * 3
    assert [entry.tie for entry in entries] == [1, 1, 3]


sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))


@given(st.lists(sizes, min_size=1, max_size=30))
def test_the_front_is_what_no_other_dominates(drawn: list[tuple[int, int]]) -> None:
    entries = ranked(
        *(complete(accuracy=accuracy / 20, parameters=size) for accuracy, size in drawn)
    )

    for entry in entries:
        dominated = any(
            other.accuracy >= entry.accuracy
            and other.parameters <= entry.parameters
            and (other.rank < entry.rank)
            for other in entries
        )
        assert entry.on_front == (not dominated)


def test_checks_name_what_is_met_missed_and_unknown() -> None:
    known, unknown = ranked(
        complete(accuracy=0.9941, parameters=8_932, candidate=REFERENCES["narrow-8k"].candidate),
        complete(accuracy=0.99, parameters=20_000),
    )

    assert [check.passed for check in known.checks] == [True] * 6
    assert known.passes_all
    assert {check.name: check.passed for check in unknown.checks} == {
        "BatchNorm": None,
        "Dropout": None,
        "GAP or fully connected": None,
        "≤ 20,000 parameters": True,
        "≤ 20 epochs": True,
        "≥ 99.4 %": False,
    }
    assert not unknown.passes_all


def test_exactly_the_target_reaches_it() -> None:
    entries = ranked(complete(accuracy=0.994))

    assert entries[0].checks[-1].passed
    assert judge(entries, LIMITS).met
    assert not judge(ranked(complete(accuracy=0.9939)), LIMITS).met


def test_the_verdict_says_how_sure_it_is() -> None:
    near = judge(ranked(complete(accuracy=0.995)), LIMITS)
    clear = judge(ranked(complete(accuracy=0.9965), complete(accuracy=0.995)), LIMITS)

    assert (near.met, near.certain, near.reaching) == (True, False, 1)
    assert (clear.met, clear.certain, clear.reaching) == (True, True, 2)


def test_a_reference_does_not_meet_the_target_for_the_search() -> None:
    entries = ranked(
        complete(accuracy=0.995, label="reference: narrow-8k"), complete(accuracy=0.99)
    )
    verdict = judge(entries, LIMITS)

    assert verdict.met is False
    assert verdict.best is not None
    assert verdict.best.trial.number == 1
    assert judge(entries[:1], LIMITS).met is None


def test_seeds_of_one_candidate_are_one_architecture_and_a_lucky_single_one_is_below_it() -> None:
    one, other = (LayeredCandidate(layers=(Conv(width=width), Pool())) for width in (8, 9))
    entries = ranked(
        complete(accuracy=0.9950, candidate=one),
        complete(accuracy=0.9960, candidate=other),  # once, and luckier than the other's mean
        complete(accuracy=0.9958, candidate=one, balanced_accuracy=0.99),
        complete(accuracy=0.9957, candidate=one, balanced_accuracy=0.98),
        complete(accuracy=0.9960, candidate=one),
        *(complete(accuracy=0.99 + i / 2000) for i in range(8)),
    )
    first, second = entries[:2]
    assert [trial.number for trial in first.seeds] == [0, 2, 3, 4]
    assert first.trial.number == 0 and second.trial.number == 1
    assert first.accuracy == pytest.approx(0.995625)
    assert second.accuracy > first.accuracy > first.expected > second.expected
    assert first.balanced == pytest.approx(0.985)
    assert first.over_seeds == mean_interval([0.9950, 0.9958, 0.9957, 0.9960])
    assert second.over_seeds is None
    assert len(entries) == 10


def test_candidates_of_users_neither_join_others_nor_change_their_order() -> None:
    """The finalists are chosen by the search's own alone, in the order of the leaderboard."""
    one, other = (LayeredCandidate(layers=(Conv(width=width), Pool())) for width in (8, 9))
    own = [complete(accuracy=0.99 + i / 2000) for i in range(8)]
    own += [complete(accuracy=0.9950, candidate=one) for _ in range(3)]
    own.append(complete(accuracy=0.9953, candidate=other))
    for number, trial in enumerate(own):
        trial.number = number
    weak = [complete(accuracy=0.90 + i / 1000, candidate=one) for i in range(9)]
    for number, trial in enumerate(weak):
        trial.number = number
    entries = rank((*read_trials(own, LIMITS), *read_trials(weak, LIMITS, by_user=True)), LIMITS)
    found = [entry for entry in entries if not entry.trial.by_user]
    alone = valid_architectures(own, LIMITS)
    assert [entry.expected for entry in found] == [each.expected for each in alone]
    assert [entry.trial.number for entry in found] == [each.first.number for each in alone]
    assert [len(entry.seeds) for entry in entries if entry.trial.by_user] == [1] * 9


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (complete(parameters=9, macs=10, peak_activation_bytes=400, flash_bytes=19_000), ""),
        (complete(parameters=20_001, macs=10), "more than 20,000 parameters"),
        (complete(parameters=None, macs=10), "without a recorded parameter count"),
        (
            complete(parameters=9, epochs=21, macs=10, peak_activation_bytes=4, flash_bytes=9),
            "more than 20 epochs",
        ),
        (complete(parameters=9, macs=1_001), "more than 1,000 multiply-accumulates"),
        (complete(parameters=9), "without recorded multiply-accumulates"),
        (complete(parameters=9, macs=1), "without recorded bytes of RAM"),
        (complete(parameters=9, macs=1, peak_activation_bytes=404), "more than 100 bytes of RAM"),
        (
            complete(parameters=9, macs=1, peak_activation_bytes=400, flash_bytes=None),
            "without recorded bytes of flash",
        ),
        (
            complete(parameters=9, macs=1, peak_activation_bytes=400, flash_bytes=19_001),
            "more than 19,000 bytes of flash",
        ),
        (complete(accuracy=1.5, macs=10), "not an accuracy"),
    ],
)
def test_a_valid_architecture_is_known_to_keep_every_limit(trial: FrozenTrial, reason: str) -> None:
    limits = StudyLimits(max_macs=1_000, max_ram=100, max_flash=19_000)
    found = why_not_valid(read_trials([trial], limits)[0], limits)

    assert (reason in found) if reason else found == ""


def test_a_trial_without_epochs_is_not_valid() -> None:
    trial = complete()
    del trial.user_attrs["epochs"]
    trial.intermediate_values = {}

    assert "number of epochs" in why_not_valid(read_trials([trial], LIMITS)[0], LIMITS)
    assert "maximise" in why_not_valid(
        read_trials([complete()], LIMITS)[0], LIMITS, maximizes=False
    )


def seeds_of(width: int, *values: float) -> list[FrozenTrial]:
    candidate = LayeredCandidate(layers=(Conv(width=width), Pool()))
    return [complete(accuracy=value, candidate=candidate) for value in values]


SCATTERED = [  # the second has the higher mean, of one seed that may be luck
    *seeds_of(4, *(0.90, 0.80, 0.90, 0.80, 0.90, 0.80)),
    *seeds_of(5, 0.88),
    *seeds_of(6, *(0.60, 0.80, 0.60, 0.80)),
    *seeds_of(7, *(0.50, 0.70, 0.50)),
]


def test_one_that_may_be_luckier_ties_and_the_target_is_the_best_one_s() -> None:
    limits = StudyLimits(target=0.87, validation_images=10_000)
    entries = ranked(*SCATTERED, limits=limits)
    assert [len(entry.seeds) for entry in entries] == [6, 1, 4, 3]
    assert entries[1].accuracy > entries[0].accuracy
    assert [entry.tie for entry in entries] == [1, 1, 3, 4]
    verdict = judge(entries, limits)
    assert (verdict.met, verdict.certain, verdict.reaching) == (False, False, 1)


def test_a_tie_has_all_down_to_the_last_that_the_first_is_not_surely_above() -> None:
    """Between them stands one that by its own interval would not tie."""
    entries = ranked(
        *seeds_of(4, *(0.970, 0.870) * 4),
        *seeds_of(5, *(0.955, 0.860) * 4),
        *seeds_of(6, 0.911),
        *seeds_of(7, 0.85),
    )
    assert [entry.accuracy for entry in entries] == pytest.approx([0.92, 0.9075, 0.911, 0.85])
    first, second, third = (entry.interval for entry in entries[:3])
    assert first and second and third and second.high < first.low <= third.high
    assert [entry.tie for entry in entries] == [1, 1, 1, 4]


def test_the_same_draws_under_other_limits_are_another_architecture() -> None:
    trials = [complete(accuracy=0.9, parameters=size) for size in (80, 80, 90)]
    for trial in trials:
        trial.set_user_attr("candidate", '{"space": {}, "params": {"width": 3}}')
    entries = ranked(*trials)
    assert sorted(len(entry.seeds) for entry in entries) == [1, 2]
