"""Signs of life: beats while a trial runs and none after, silence by the looker's clock alone."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.engine.claims import release_dead
from search.engine.heartbeat import BEAT, Heartbeat, Silence
from search.engine.storage import create_study

ELSEWHERE = "some-other-host/12345678:1:1.0"


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return create_study(str(tmp_path / "a.db"), "s")


def begin(study: optuna.Study, owner: str = ELSEWHERE) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr("worker", owner)
    return trial


def test_a_beat_that_cannot_be_written_is_not_the_last_and_none_follows_the_end(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's own thread ends with the first write that fails."""
    trial = begin(study)
    write = study._storage.set_trial_system_attr
    beats = 0
    before = threading.active_count()
    enough = threading.Event()

    def fails_twice(trial_id: int, key: str, value: Any) -> None:
        nonlocal beats
        beats += 1
        if beats <= 2:
            raise optuna.exceptions.StorageInternalError("database is locked")
        write(trial_id, key, value)
        if beats >= 4:
            enough.set()

    monkeypatch.setattr(study._storage, "set_trial_system_attr", fails_twice)
    with Heartbeat(study, trial._trial_id, seconds=0.01):
        assert enough.wait(30)
    study.tell(trial, 0.5)
    finished = study.trials[0]
    assert finished.system_attrs[BEAT] >= 4
    assert BEAT not in finished.user_attrs
    assert threading.active_count() == before, "the thread has ended"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_trial_elsewhere_that_changes_no_more_is_silent(study: optuna.Study) -> None:
    clock = Clock()
    silence = Silence(grace=180, clock=clock)
    dead, beating, training = begin(study), begin(study), begin(study)
    here = begin(study, owner="")
    for step in range(5):
        clock.now = 60.0 * step
        study._storage.set_trial_system_attr(beating._trial_id, BEAT, step)
        training.report(0.5, step)
        silent = silence.look(study.get_trials(deepcopy=False))
        assert silent == ({dead.number} if clock.now >= 180 else set())
    assert here.number not in silent


def test_one_who_could_not_look_for_long_takes_nobody_for_dead(study: optuna.Study) -> None:
    clock = Clock()
    silence = Silence(grace=180, clock=clock)
    trial = begin(study)
    assert silence.look(study.get_trials(deepcopy=False)) == set()
    clock.now = 1000
    assert silence.look(study.get_trials(deepcopy=False)) == set(), "nor could the trial write"
    for _ in range(2):
        clock.now += 60
        silent = silence.look(study.get_trials(deepcopy=False))
    assert silent == {trial.number}


def test_a_silent_trial_is_queued_again_and_its_late_worker_changes_nothing(
    study: optuna.Study,
) -> None:
    late = begin(study)
    late.suggest_float("x", 0, 1)
    assert release_dead(study) == []
    assert release_dead(study, {late.number}) == [late.number]
    assert study.trials[0].user_attrs["reason"] == "its worker's machine fell silent"
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        late.report(0.9, 1)
    study.tell(late, 0.9, skip_if_finished=True)
    again = study.ask()
    assert again.suggest_float("x", 0, 1) == late.params["x"]
    study.tell(again, 0.5)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
