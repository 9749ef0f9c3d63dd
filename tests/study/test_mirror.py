"""A mirrored study is the database's, whoever writes."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.study.mirror import MirroredStorage

NAME = "study"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(study_name=NAME, storage=url, direction="maximize")
    return url


def mirrored(url: str) -> tuple[optuna.Study, MirroredStorage]:
    storage = MirroredStorage(RDBStorage(url), NAME)
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.load_study(study_name=NAME, storage=storage, sampler=sampler), storage


def plain(url: str) -> optuna.Study:
    return optuna.load_study(study_name=NAME, storage=url)


def facts(study: optuna.Study) -> list[tuple[object, ...]]:
    return [
        *(
            (t.number, t.state, t.values, t.params, t.distributions, t.intermediate_values)
            + (t.user_attrs, t.system_attrs)
            for t in study.get_trials()
        )
    ]


def test_a_draft_is_seen_by_nobody_until_it_is_written(url: str) -> None:
    study, storage = mirrored(url)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.suggest_int("n", 1, 9)
    trial.set_user_attr("architecture", "c8")
    trial.set_constraint("size", -0.5)
    assert plain(url).get_trials() == []
    storage.write_draft(trial._trial_id)
    assert facts(plain(url)) == facts(study)
    trial.report(0.5, 1)
    trial.report(0.7, 2)
    trial.set_user_attr("seconds", 3.5)
    assert facts(plain(url)) == facts(study)
    study.tell(trial, 0.7)
    assert facts(plain(url)) == facts(study)
    (ended,) = plain(url).get_trials()
    assert ended.state == TrialState.COMPLETE and ended.constraints == {"size": -0.5}
    assert ended.datetime_start is not None and ended.datetime_complete is not None


def test_a_draft_that_is_told_is_written_as_it_ended(url: str) -> None:
    study, _ = mirrored(url)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_constraint("size", 2.0)
    study.tell(trial, state=TrialState.PRUNED)
    assert facts(plain(url)) == facts(study)
    assert plain(url).trials[0].state == TrialState.PRUNED


def test_what_is_there_is_read_and_gone_on_with(url: str) -> None:
    before = plain(url)
    before.enqueue_trial({"x": 0.25}, user_attrs={"label": "first"})
    done = before.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    before.tell(done, 0.5)
    before.enqueue_trial({"x": 0.75})
    study, _ = mirrored(url)
    assert facts(study) == facts(before)
    trial = study.ask()
    assert (trial.number, trial.suggest_float("x", 0, 1)) == (1, 0.75)
    assert plain(url).trials[1].state == TrialState.RUNNING
    study.tell(trial, 0.6)
    assert facts(plain(url)) == facts(study)


def test_a_trial_goes_back_to_waiting_and_keeps_its_number(url: str) -> None:
    study, storage = mirrored(url)
    trial = study.ask()
    x = trial.suggest_float("x", 0, 1)
    storage.write_draft(trial._trial_id)
    trial.report(0.4, 1)
    storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    other, others = mirrored(url)
    again = other.ask()
    assert again.number == 0
    assert again.suggest_float("x", 0, 1) == x
    assert others.get_trial(again._trial_id).intermediate_values == {1: 0.4}
    other.tell(again, 0.4)
    assert len(plain(url).trials) == 1


def test_two_processes_see_each_others_trials_and_share_the_queue(url: str) -> None:
    (one, first), (two, second) = mirrored(url), mirrored(url)
    a = one.ask()
    a.suggest_float("x", 0, 1)
    first.write_draft(a._trial_id)
    second.refresh()
    b = two.ask()
    assert (a.number, b.number) == (0, 1)
    b.suggest_float("x", 0, 1)
    second.write_draft(b._trial_id)
    one.tell(a, 0.1)
    two.enqueue_trial({"x": 0.5})
    second.refresh()
    first.refresh()
    assert [t.state for t in two.get_trials()] == [t.state for t in one.get_trials()]
    assert facts(one)[0] == facts(two)[0] == facts(plain(url))[0]
    assert one.ask().number == 2
    assert two._pop_waiting_trial_id() is None  # the other one has it


def test_a_trial_that_another_process_ends_is_not_written(url: str) -> None:
    study, storage = mirrored(url)
    trial = study.ask()
    storage.write_draft(trial._trial_id)
    plain(url).tell(0, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.report(0.5, 1)
