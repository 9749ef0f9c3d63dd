"""The shortlist: what chooses, what flatters, and what the report says of it."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.reporting import shortlist
from search.reporting.leaderboard import summarize
from search.reporting.pages.writing import render
from search.reporting.shortlist import read_shortlist
from tests.reporting.studies import complete, study_of


def again(of: int, *values: float, **attributes: Any) -> list[FrozenTrial]:
    """Fresh trainings of a search's trial."""
    return [
        create_trial(
            value=value,
            user_attrs={
                **{"search_trial": of, "seed": seed, "rank": of + 1, "candidate": f"{of}"},
                **{"architecture": "c8", "parameters": 9_000 + of, **attributes},
            },
        )
        for seed, value in enumerate(values)
    ]


def searched(*values: float) -> list[FrozenTrial]:
    trials = [create_trial(value=value) for value in values]
    for number, trial in enumerate(trials):
        trial.number = number
    return trials


def test_the_mean_of_all_trainings_decides_and_fresh_ones_tell_the_luck() -> None:
    lucky, steady = again(0, 0.990, 0.991, 0.992), again(1, 0.993, 0.994, 0.995)
    first, second = read_shortlist([*lucky, *steady], searched(0.996, 0.994))
    assert (first.search_trial, second.search_trial) == (1, 0)
    assert (first.place, second.place) == (1, 2)
    assert second.mean == pytest.approx((0.996 + 0.990 + 0.991 + 0.992) / 4)
    assert second.fresh_mean == pytest.approx(0.991)
    assert second.luck == pytest.approx(0.005)
    assert first.luck == pytest.approx(0.0)
    assert "0.250 points above" in shortlist.says((first, second))
    assert "0.050 points below" in shortlist.says(
        read_shortlist(again(0, 0.9925, 0.9925), searched(0.992))
    )


def test_one_whose_training_failed_does_not_win_by_the_seeds_that_it_lacks() -> None:
    found = read_shortlist([*again(0, 0.999), *again(1, 0.9, 0.9)], searched(0.999, 0.9))
    assert [one.search_trial for one in found] == [1, 0]


def test_what_is_not_usable_is_left_out() -> None:
    odd = [
        *again(7, 0.99),  # of no trial that there is
        *again(0, 1.5),
        *again(0, 0.99, candidate=3),
        *again(0, 0.99, seed="x"),
        create_trial(state=TrialState.FAIL, user_attrs={"search_trial": 0, "seed": 1}),
    ]
    two = create_trial(values=[0.99, 0.5])
    assert read_shortlist(odd, searched(0.99)) == ()
    assert read_shortlist(again(0, 0.99), [two]) == ()


def test_the_report_shows_who_became_a_finalist() -> None:
    search = study_of([complete(accuracy=0.993), complete(accuracy=0.992)])
    assert shortlist.HEADING not in render(summarize(search), top=5)["leaderboard.html"]
    for name, trials in (
        ("cnn-search shortlist", [*again(0, 0.9930, 0.9931), *again(1, 0.9941, 0.9945)]),
        ("cnn-search finalists", again(1, 0.9950, test_accuracy=0.9950, kind="finalist")),
    ):
        beside = optuna.create_study(study_name=name, storage=search.storage, direction="maximize")
        beside.add_trials(trials)
    summary = summarize(search)
    assert [(one.search_trial, one.chosen) for one in summary.shortlist] == [(1, True), (0, False)]
    texts = render(summary, top=5)
    for name in ("leaderboard.html", "leaderboard.md"):
        assert shortlist.HEADING in texts[name]
    row = next(line for line in texts["leaderboard.md"].splitlines() if "| 99.353 %" in line)
    assert row.split(" | ")[1:] == [
        *("trial 1", "99.353 %", "99.20 %", "99.41, 99.45 %", "99.430 %", "9,001", "2", "yes |")
    ]
    written = json.loads(texts["leaderboard.json"])["shortlist"]
    assert [one["chosen"] for one in written] == [True, False]
