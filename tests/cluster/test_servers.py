"""A server that restarts: what is written is waited for, what was guarded is begun anew."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError

from search.common.errors import UserError
from search.study.judge import Task
from search.study.mirror import MirroredStorage
from search.study.shared import Answer, SharedStudy
from search.study.storages import server_retry
from search.study.storages.locks import study_lock
from search.study.storages.opening import create_study, open_study
from search.study.storages.server_retry import LockLost, retry_of
from search.study.storages.vanishing import Vanishing
from tests.cluster.postgres import PostgresServer
from tests.cluster.stand_ins import StandIn, share

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from search.study.storages.locks import study_lock
with study_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def study(database: str) -> SharedStudy:
    create_study(database, "s")
    return share(database)


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

    retry_of(database).say = say
    yield stop
    missed.set()
    thread.join()


class Restarting(StandIn):
    """Restarts the server at one moment of a dispatch, once.

    Args:
        server: The server.
        when: ``drawn``, ``given`` or ``written``.
    """

    def __init__(self, server: PostgresServer, when: str) -> None:
        self._server, self._when = server, when
        self.given: list[int] = []
        self.taken: list[int] = []  # back

    def at(self, moment: str) -> None:
        if self._when == moment:
            self._when = ""
            restart(self._server)

    def propose(self, trial: optuna.Trial) -> Task:
        self.at("drawn")
        return super().propose(trial)

    def give(self, tasks: Sequence[Task]) -> None:
        self.given += [task.number for task in tasks]
        self.at("given")

    def take(self, task: Task) -> None:
        self.taken.append(task.number)

    def dispatch(self, study: SharedStudy) -> Answer:
        return study.dispatch(self, 1, "me", self.give, self.take)


def restart(server: PostgresServer) -> None:
    server.stop()
    server.start()


def dispatched(study: SharedStudy) -> optuna.Trial:
    """A trial that is started, and written."""
    given: list[Task] = []
    assert study.dispatch(StandIn(), 10**9, "me", given.extend, print) is Answer.GIVEN
    return study.trial(given[0].number)


def stored(database: str) -> list[FrozenTrial]:
    """The trials as another process sees them."""
    return open_study(database, "s").get_trials()


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
    study: SharedStudy, database: str, back_when_missed: Callable[[], list[str]], times: int
) -> None:
    trial = dispatched(study)
    trial.report(0.25, 1)
    said = back_when_missed()
    if times == 1:
        trial.report(0.5, 2)
        trial.set_user_attr("label", "kept")
        study.beat()
    study.complete(trial.number, 0.75)
    (ended,) = stored(database)
    assert (ended.state, ended.value) == (TrialState.COMPLETE, 0.75)
    assert ended.intermediate_values == ({1: 0.25, 2: 0.5} if times == 1 else {1: 0.25})
    assert "waiting for it, up to 5 minutes" in said[0]
    assert "it answers again" in said[1]
    assert len(said) == 2


def test_a_claim_waits_for_the_server(
    study: SharedStudy, database: str, back_when_missed: Callable[[], list[str]]
) -> None:
    said = back_when_missed()
    dispatched(study)
    assert [trial.state for trial in stored(database)] == [TrialState.RUNNING]
    assert len(said) == 2


def test_an_end_that_was_written_though_the_connection_broke_is_no_error(
    study: SharedStudy, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, other = dispatched(study), dispatched(study)
    write = RDBStorage.set_trial_state_values
    broken: list[int] = []

    def breaks_after_the_first(self: RDBStorage, trial_id: int, *more: Any) -> bool:
        written = write(self, trial_id, *more)
        if trial_id in broken:
            return written
        broken.append(trial_id)
        lost = OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)
        raise optuna.exceptions.StorageInternalError from lost

    with monkeypatch.context() as patched:
        patched.setattr(RDBStorage, "set_trial_state_values", breaks_after_the_first)
        study.complete(trial.number, 0.5)
    assert broken
    assert stored(database)[0].value == 0.5
    open_study(database, "s").tell(other.number, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.complete(other.number, 0.5)
    assert study.was_ended(other.number)
    assert study.trials()[1].state == TrialState.FAIL


def test_a_restart_ends_the_lock_and_no_connection_is_replaced_under_it(
    study: SharedStudy, database: str, server: PostgresServer
) -> None:
    with pytest.raises(LockLost), study_lock(database):
        restart(server)
    with pytest.raises(LockLost), study_lock(database):
        restart(server)
        with pytest.raises(LockLost):
            study.refresh()
        with pytest.raises(LockLost):
            study.study.enqueue_trial({})
    assert stored(database) == []


@pytest.mark.parametrize("queued", [True, False])
@pytest.mark.parametrize("when", ["drawn", "given", "written"])
def test_a_claim_whose_lock_was_lost_is_begun_anew_and_nothing_is_doubled(
    study: SharedStudy,
    database: str,
    server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    queued: bool,
) -> None:
    if queued:
        open_study(database, "s").enqueue_trial({"x": 0.5}, user_attrs={"label": "queued"})
    judge = Restarting(server, when)
    write = MirroredStorage.write_draft

    def write_draft(self: MirroredStorage, number: int) -> None:
        write(self, number)
        judge.at("written")

    monkeypatch.setattr(MirroredStorage, "write_draft", write_draft)
    assert judge.dispatch(study) is Answer.AGAIN
    study.take_over()
    goes_on = len(judge.given) > len(judge.taken)  # all of it had been written
    assert judge.dispatch(study) is (Answer.WAIT if goes_on else Answer.GIVEN)
    assert len(judge.given) == len(judge.taken) + 1
    (trial,) = stored(database)
    assert (trial.state, list(trial.params)) == (TrialState.RUNNING, ["x"])
    if queued:
        assert (trial.params["x"], trial.user_attrs["label"]) == (0.5, "queued")
    study.complete(0, 0.5)
    assert judge.dispatch(study) is Answer.ENOUGH


def test_a_trial_that_was_written_though_the_connection_broke_is_given_again(
    study: SharedStudy, database: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Restarting(server, "never")
    write = RDBStorage.create_new_trial

    def breaks(self: RDBStorage, *arguments: Any) -> int:
        write(self, *arguments)
        raise OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)

    with monkeypatch.context() as patched:
        patched.setattr(RDBStorage, "create_new_trial", breaks)
        assert judge.dispatch(study) is Answer.AGAIN
    assert judge.taken == [0]
    assert study.take_over() == 1
    assert judge.dispatch(study) is Answer.GIVEN
    assert judge.given == [0, 0]
    assert [trial.state for trial in stored(database)] == [TrialState.RUNNING]


def test_one_who_stops_does_not_wait_and_waiting_ends(
    study: SharedStudy, database: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    vanishing = Vanishing(database, "s", study.find)
    server.stop()
    retry_of(database).give_up = lambda: True
    with pytest.raises(UserError, match="cannot be used: connection failed") as caught:
        vanishing.check()
    assert server.password not in str(caught.value)
    retry_of(database).give_up = lambda: False
    monkeypatch.setattr(server_retry, "RETRY_SECONDS", 2.0)
    started = time.monotonic()
    with pytest.raises(UserError, match="Check --storage, and that the database server runs"):
        vanishing.check()
    assert time.monotonic() - started >= 2


def test_what_never_answered_is_not_waited_for(server: PostgresServer) -> None:
    wrong = server.url(password="mistaken-secret")
    started = time.monotonic()
    with pytest.raises(UserError, match="cannot be used") as caught:
        create_study(wrong, "s")
    assert time.monotonic() - started < 30
    assert "mistaken-secret" not in str(caught.value)
