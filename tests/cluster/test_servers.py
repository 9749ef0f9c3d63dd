"""A server that restarts: what is written is waited for, what was guarded is begun anew."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from search.engine import patience, workers
from search.engine.claims import claim
from search.engine.errors import UserError
from search.engine.locks import be_patient, study_lock
from search.engine.patience import LockLost
from search.engine.storage import create_study, probe
from tests.cluster.postgres import PostgresServer
from tests.no_data import job_without_data

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from search.engine.locks import study_lock
with study_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def study(database: str) -> Iterator[optuna.Study]:
    yield create_study(database, "s")
    be_patient(database, give_up=lambda: False)


@pytest.fixture
def back_when_missed(database: str, server: PostgresServer) -> Iterator[Callable[[], list[str]]]:
    """Stops the server when called; it comes back as soon as someone says that he waits for it."""
    missed = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        missed.set()

    def come_back() -> None:
        if missed.wait(120):
            server.start()

    thread = threading.Thread(target=come_back)

    def stop() -> list[str]:
        server.stop()
        thread.start()
        return said

    be_patient(database, give_up=lambda: False, say=say)
    yield stop
    missed.set()
    thread.join()


def restart(server: PostgresServer) -> None:
    server.stop()
    server.start()


def test_the_lock_is_held_among_all_processes_and_dies_with_its_holder(database: str) -> None:
    command = [sys.executable, "-c", HOLDER, database]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen(command, cwd=ROOT, **pipes)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with study_lock(database, timeout=0.2) as held:
        assert not held
    holder.kill()
    holder.communicate()
    with study_lock(database, timeout=60) as held:
        assert held
        with study_lock(database, timeout=0.2) as again:
            assert not again
    with study_lock(database, timeout=60) as held:
        assert held, "and released at the end"


@pytest.mark.parametrize("times", [1, 2])
def test_everything_that_a_trial_writes_waits_for_the_server(
    study: optuna.Study, back_when_missed: Callable[[], list[str]], times: int
) -> None:
    trial = study.ask()
    trial.report(0.25, 1)
    said = back_when_missed()
    if times == 1:
        trial.report(0.5, 2)
        trial.set_user_attr("label", "kept")
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 0.75)
    else:
        study.tell(trial, 0.75)
    ended = study.trials[0]
    assert (ended.state, ended.value) == (TrialState.COMPLETE, 0.75)
    assert ended.intermediate_values == ({1: 0.25, 2: 0.5} if times == 1 else {1: 0.25})
    assert "waiting for it, up to 5 minutes" in said[0]
    assert "it answers again" in said[1]
    assert len(said) == 2


def test_an_end_that_was_written_though_the_connection_broke_is_no_error(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, other = study.ask(), study.ask()
    write = RDBStorage.set_trial_state_values
    broken: list[int] = []

    def breaks_after_the_first(self: RDBStorage, trial_id: int, *more: Any) -> bool:
        written = write(self, trial_id, *more)
        if trial_id in broken:
            return written
        broken.append(trial_id)
        lost = OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)
        raise optuna.exceptions.StorageInternalError from lost

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", breaks_after_the_first)
    study.tell(trial, 0.5)
    assert study.trials[0].value == 0.5
    write(study._storage._backend, other._trial_id, TrialState.FAIL)  # type: ignore[attr-defined]
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(other._trial_id, TrialState.COMPLETE, [0.5])


def test_a_restart_ends_the_lock_and_no_connection_is_replaced_under_it(
    study: optuna.Study, database: str, server: PostgresServer
) -> None:
    with pytest.raises(LockLost), study_lock(database):
        restart(server)
    with pytest.raises(LockLost), study_lock(database):
        restart(server)
        with pytest.raises(LockLost):
            study.get_trials()
        with pytest.raises(LockLost):
            study.enqueue_trial({})
    assert study.trials == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_trial_that_was_taken_while_the_lock_was_lost_is_given_back(
    study: optuna.Study,
    database: str,
    server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    study.enqueue_trial({"x": 0.5}, user_attrs={"label": "queued"})
    taken: list[int] = []
    restarts = [True]

    def claim_over_a_restart(*arguments: Any, **more: Any) -> Any:
        if restarts and when == "before":
            restarts.pop()
            restart(server)
        decision, trial = claim(*arguments, **more)
        assert trial is not None
        if restarts:
            restarts.pop()
            restart(server)
        assert trial is not None
        taken.append(trial.number)
        return decision, trial

    monkeypatch.setattr(workers, "claim", claim_over_a_restart)
    job = job_without_data(database, lambda index, source: lambda trial, should_stop: 0.0, trials=1)
    _, trial = workers._claim(study, job, "me")
    assert trial is not None
    assert trial.suggest_float("x", 0, 1) == 0.5
    assert trial.user_attrs["label"] == "queued"
    found = study.trials
    assert sum(t.state == TrialState.RUNNING for t in found) == 1
    assert [t for t in found if t.state == TrialState.WAITING] == []
    assert taken == ([0] if when == "before" else [0, 1])


def test_one_who_stops_does_not_wait_and_patience_ends(
    study: optuna.Study, database: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    be_patient(database, give_up=lambda: True)
    with pytest.raises(UserError, match="cannot be used: connection failed") as caught:
        probe(study, database)
    assert server.password not in str(caught.value)
    be_patient(database, give_up=lambda: False)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 2.0)
    started = time.monotonic()
    with pytest.raises(UserError, match="Check --storage, and that the database server runs"):
        probe(study, database)
    assert time.monotonic() - started >= 2
