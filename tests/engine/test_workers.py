"""Workers: trials that others end, studies that vanish, processes that die again and again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.engine.dataset import DataSource
from search.engine.local_workers import LocalWorkers
from search.engine.pool import WorkerError
from search.engine.storage import create_study, open_study
from search.engine.workers import Objective, run_trial
from tests.no_data import job_without_data


@pytest.fixture
def path(tmp_path: Path) -> str:
    create_study(str(tmp_path / "a.db"), "s")
    return str(tmp_path / "a.db")


def _kills_its_worker(trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
    trial.suggest_float("x", 0, 1)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def _make(index: int, source: DataSource) -> Objective:
    return _kills_its_worker


def test_workers_that_die_again_and_again_are_not_replaced_for_ever(path: str) -> None:
    study = open_study(path)
    job = job_without_data(path, _make, trials=3)
    pool = LocalWorkers(job, 1, deaths=3)
    deadline = time.monotonic() + 120
    died = 0
    with pytest.raises(WorkerError, match="died 3 times .* by SIGKILL .*out of memory"):
        while time.monotonic() < deadline:
            assert pool.unfinished, "a dead worker is no end of the search"
            died += len(pool.tend(study))
            time.sleep(0.05)
    assert died == 2, "and replaced"
    assert not pool.running
    cut = study.get_trials(states=(TrialState.FAIL,))
    assert [trial.user_attrs["reason"] for trial in cut] == ["its worker died"] * 2


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE])
@pytest.mark.parametrize("how", ["report", "return", "raise", "prune"])
def test_a_trial_that_someone_else_ends_stays_as_he_left_it(
    path: str, state: TrialState, how: str
) -> None:
    study = open_study(path)
    trial = study.ask()

    def objective(trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
        value = [0.25] if state == TrialState.COMPLETE else None
        study._storage.set_trial_state_values(trial._trial_id, state, value)
        if how == "report":
            trial.report(0.5, 1)
        if how == "raise":
            raise RuntimeError("mine")
        if how == "prune":
            raise optuna.TrialPruned
        return 0.75

    run_trial(study, trial, objective, lambda: False, path)
    ended = study.trials[0]
    assert (ended.state, ended.value) == (state, 0.25 if state == TrialState.COMPLETE else None)
    assert len(study.trials) == 1


def test_a_deleted_study_is_no_failure_of_a_candidate(path: str) -> None:
    study = open_study(path)
    trial = study.ask()

    def objective(trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
        optuna.delete_study(study_name="s", storage=study._storage)
        trial.report(0.5, 1)
        return 0.5

    with pytest.raises(KeyError):
        run_trial(study, trial, objective, lambda: False, path)
