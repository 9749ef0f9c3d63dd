"""Trials read and written as plain rows are those that Optuna itself reads and writes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.engine.servers import PatientStorage
from search.engine.storage import connect, create_study


@pytest.fixture
def study(database: str) -> optuna.Study:
    """Trials of every state, with every kind of parameter, value and report."""
    study = create_study(database, "s")
    study.enqueue_trial({"x": 0.5}, user_attrs={"label": "queued"})
    for _ in range(6):
        trial = study.ask()
        trial.suggest_float("x", 0.1, 10, log=True)
        trial.suggest_int("n", 2, 8, step=2)
        trial.suggest_categorical("kind", ["a", 3, None, 0.5, True])
        trial.set_user_attr("nested", {"list": [1, {"text": "ä \N{SNOWMAN}"}], "none": None})
        trial.set_constraint("size", -0.5)
    for step, value in enumerate((0.5, math.inf, -math.inf, 1e-300)):
        trial.report(value, step * 10)
    study.tell(1, 0.25)
    study.tell(2, math.inf)
    study.tell(3, state=TrialState.FAIL)
    study.tell(5, state=TrialState.PRUNED)
    study.enqueue_trial({})
    return study


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is five hours and three quarters ahead."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "AHEAD-5:45")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_reading_gives_what_optuna_gives(study: optuna.Study, database: str) -> None:
    ours = connect(database)
    assert isinstance(ours, PatientStorage)
    theirs = RDBStorage(database)
    whole = theirs.get_all_trials(study._study_id)
    assert {trial.state for trial in whole} == set(TrialState)
    assert ours.get_all_trials(study._study_id) == whole
    assert [ours.get_trial(trial._trial_id) for trial in whole] == whole
    assert whole[0].datetime_start is not None
    assert abs(datetime.now() - whole[0].datetime_start) < timedelta(minutes=10)
    for states in ((TrialState.WAITING,), (TrialState.COMPLETE, TrialState.PRUNED), ()):
        expected = theirs.get_all_trials(study._study_id, states=states)
        assert ours.get_all_trials(study._study_id, states=states) == expected
    last = whole[3]._trial_id
    some = ours._get_trials(study._study_id, None, {whole[1]._trial_id}, last)
    assert some == [whole[1], *whole[4:]]
    with pytest.raises(KeyError):
        ours.get_trial(10**6)
    with pytest.raises(KeyError):
        ours.get_all_trials(10**6)


def test_a_report_that_is_no_number_is_kept_and_a_second_one_replaces_it(
    study: optuna.Study, database: str
) -> None:
    running = study.get_trials(states=(TrialState.RUNNING,))[0]._trial_id
    ours = connect(database)
    for value in (0.5, math.nan):
        ours.set_trial_intermediate_value(running, 7, value)
        ours.set_trial_user_attr(running, "key", value)
        (read,) = RDBStorage(database).get_trial(running).intermediate_values.values()
        assert read == value or math.isnan(read) and math.isnan(value)
    assert math.isnan(RDBStorage(database).get_trial(running).user_attrs["key"])


def test_what_is_finished_takes_nothing_more(study: optuna.Study, database: str) -> None:
    before = study.trials
    ours = connect(database)
    finished = before[1]._trial_id
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ours.set_trial_intermediate_value(finished, 1, 0.5)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ours.set_trial_user_attr(finished, "late", 1)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ours.set_trial_system_attr(finished, "late", 1)
    with pytest.raises(KeyError):
        ours.set_trial_user_attr(10**6, "lost", 1)
    assert study.trials == before
