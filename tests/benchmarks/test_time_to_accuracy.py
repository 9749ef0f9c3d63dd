"""When a search has an accuracy: leaders, and from when on what they have is enough."""

from __future__ import annotations

import datetime as dt

import pytest

from benchmarks.time_to_accuracy import Lead, leads, reached
from tests.reporting.studies import START, complete, study_of


def test_leaders_change_as_trials_end_and_breaks_do_not_count() -> None:
    ends = ((1, 0.98), (2, 0.97), (3, 0.99), (600, 0.991))  # minutes; a night before the last
    trials = []
    for minute, accuracy in ends:
        trial = complete(accuracy=accuracy)
        trial.datetime_start = START
        trial.datetime_complete = START + dt.timedelta(minutes=minute)
        trials.append(trial)
    found = list(leads(study_of(trials)))
    assert [(lead.trial, lead.says) for lead in found] == [(0, 0.98), (2, 0.99), (3, 0.991)]
    assert [lead.minutes for lead in found] == pytest.approx([1, 3, 13])


@pytest.mark.parametrize(
    ("fresh", "since"),
    [
        ({0: 0.5, 1: 0.9, 2: 0.9}, 2.0),
        ({0: 0.9, 1: 0.5, 2: 0.9}, 3.0),
        ({0: 0.9, 1: 0.9, 2: 0.5}, None),
        ({0: 0.9, 1: 0.9, 2: 0.9}, 1.0),
    ],
)
def test_it_counts_from_when_it_stays(fresh: dict[int, float], since: float | None) -> None:
    found = [Lead(minutes=float(at + 1), trial=at, says=0.9) for at in range(3)]
    assert reached(found, fresh, 0.8) == since
